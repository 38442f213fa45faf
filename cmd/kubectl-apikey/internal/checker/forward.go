package checker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// portName and defaultPort are where a container of extauthz speaks gRPC.
const (
	portName    = "grpc"
	defaultPort = 9001
)

// PodPort is the port on which a pod of extauthz speaks gRPC.
func PodPort(pod *corev1.Pod) int {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == portName {
				return int(port.ContainerPort)
			}
		}
	}
	return defaultPort
}

// Forward forwards a loopback port to a pod of extauthz, through the API server, until
// ctx ends, and returns its address.
func Forward(ctx context.Context, config *rest.Config, pod *corev1.Pod) (string, error) {
	dialer, err := dialerTo(config, pod)
	if err != nil {
		return "", err
	}
	ready := make(chan struct{})
	// What goes through is a token: at no verbosity is anything of it logged.
	ctx = klog.NewContext(ctx, logr.Discard())
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"},
		[]string{"0:" + strconv.Itoa(PodPort(pod))}, ready, io.Discard, io.Discard)
	if err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return "", fmt.Errorf("forward a port to the pod %s/%s: %w", pod.Namespace, pod.Name, errors.Join(err, ctx.Err()))
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", err
	}
	return "127.0.0.1:" + strconv.Itoa(int(ports[0].Local)), nil
}

// dialerTo speaks to a pod's port-forward through a WebSocket, else as older API
// servers do.
func dialerTo(config *rest.Config, pod *corev1.Pod) (httpstream.Dialer, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	target := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	modern, err := portforward.NewSPDYOverWebsocketDialerForStreamingWithLogger(logr.Discard(), target, config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	return portforward.NewFallbackDialerForStreaming(modern, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
