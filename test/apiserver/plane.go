package apiserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"keygate.dev/keygate/hack/testbin"
)

// dirPrefix begins the name of every plane's directory, followed by the process id.
const dirPrefix = "keygate-apiserver-"

// plane is etcd and kube-apiserver, with everything they write in one directory.
type plane struct {
	dir   string
	env   *envtest.Environment
	log   *os.File // kube-apiserver's
	admin *rest.Config
}

// startPlane prepares the programs, which may take minutes on a new machine, and
// starts both.
func startPlane(ctx context.Context) (*plane, error) {
	assets, err := testbin.KubeAssets(ctx)
	if err != nil {
		return nil, err
	}
	removeStale()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	p := &plane{dir: dir}
	if err := p.start(assets); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *plane) start(assets string) error {
	for _, sub := range []string{"bin", "etcd", "certificates"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o700); err != nil {
			return err
		}
	}
	etcd, err := p.leashed(assets, "etcd")
	if err != nil {
		return err
	}
	server, err := p.leashed(assets, "kube-apiserver")
	if err != nil {
		return err
	}
	p.env = &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	p.env.ControlPlane.Etcd = &envtest.Etcd{Path: etcd, DataDir: p.dataDir()}
	api := p.env.ControlPlane.GetAPIServer()
	api.Path, api.CertDir = server, filepath.Join(p.dir, "certificates")
	api.Configure().Set("authorization-mode", "RBAC")
	p.log, err = os.Create(filepath.Join(p.dir, "kube-apiserver.log"))
	if err != nil {
		return err
	}
	api.Err = p.log
	config, err := p.env.Start()
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, p.logTail())
	}
	p.admin = unlimited(config)
	return nil
}

func (p *plane) dataDir() string { return filepath.Join(p.dir, "etcd") }

// logTail returns the last lines that kube-apiserver wrote.
func (p *plane) logTail() string {
	const lines = 10
	data, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// leashed returns a script that runs a program so that it dies with this process,
// however that ends: a test that times out cleans nothing up itself.
func (p *plane) leashed(assets, program string) (string, error) {
	path := filepath.Join(assets, program)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return path, nil // not Linux: the orderly ways to end still stop it
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' --pdeathsig KILL '%s' \"$@\"\n", setpriv, path)
	leashed := filepath.Join(p.dir, "bin", program)
	return leashed, os.WriteFile(leashed, []byte(script), 0o700)
}

func (p *plane) stop() error {
	var err error
	if p.env != nil && p.log != nil {
		err = errors.Join(p.env.Stop(), p.log.Close())
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

func (p *plane) stopAPIServer() error { return p.env.ControlPlane.APIServer.Stop() }

func (p *plane) startAPIServer() error { return p.env.ControlPlane.APIServer.Start() }

// removeStale removes the directories of test processes that were killed.
func removeStale() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(id)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // best effort: it is somebody else's litter
		}
	}
}

// unlimited returns a copy of config without client-side rate limits.
func unlimited(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, 0
	return config
}
