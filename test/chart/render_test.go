package chart

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// everything turns every switch on that goes together.
var everything = []string{
	"--set=extauthz.autoscaling.enabled=true", "--set=extauthz.policy=platform/a", "--set=extauthz.service.trafficDistribution=PreferSameZone",
	"--set=extauthz.priorityClassName=system-cluster-critical", "--set=controller.podLabels.a=b", "--set=extauthz.podAnnotations.a=b",
	"--set=jobs.podLabels.a=b,jobs.podAnnotations.a=b,jobs.nodeSelector.a=b", "--set=extauthz.extraArgs={--pprof}", "--set=controller.extraArgs={--pprof}", "--set=extauthz.nodeSelector.a=b",
	"--set-json=extauthz.tolerations=[{\"key\":\"a\",\"operator\":\"Exists\"}]", "--set=extauthz.spread.zones=DoNotSchedule",
	"--set-json=extauthz.affinity={\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1,\"preference\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\"}]}}]}}",
	"--set=redis.address=rediss://redis.test:6380/1", "--set=redis.passwordSecret.name=redis", "--set=redis.tls.caSecret=redis-ca", "--set=redis.tls.clientSecret=redis-client",
	"--set=monitoring.serviceMonitor.enabled=true", "--set=monitoring.prometheusRule.enabled=true", "--set=monitoring.dashboard.enabled=true",
	"--set=monitoring.serviceMonitor.labels.a=b", "--set=monitoring.dashboard.annotations.a=b", "--set=image.pullSecrets={registry}", "--set=policyNamespaces={a,b}",
	"--set-json=networkPolicy.envoyFrom=[{\"namespaceSelector\":{\"matchLabels\":{\"a\":\"b\"}}}]", "--set-json=networkPolicy.metricsFrom=[{\"namespaceSelector\":{}}]",
}

// switches are values that change what is rendered, each alone, by what they do.
var switches = map[string][]string{
	"as it is":             {},
	"everything":           everything,
	"no TLS":               {"--set=tls.provider=None"},
	"own certificates":     {"--set=tls.provider=Existing", "--set=tls.existing.serverSecret=a", "--set=tls.existing.clientSecret=b"},
	"cert-manager":         {"--set=tls.provider=CertManager"},
	"another issuer":       {"--set=tls.provider=CertManager", "--set=tls.certManager.issuerRef.kind=ClusterIssuer", "--set=tls.certManager.issuerRef.name=a", "--set=tls.clients.default=keygate"},
	"a client elsewhere":   {"--set=tls.clients.default=keygate"},
	"no CRDs":              {"--set=crds.install=false"},
	"CRDs that go":         {"--set=crds.keep=false"},
	"no keys namespace":    {"--set=keysNamespace.create=false"},
	"no network policies":  {"--set=networkPolicy.enabled=false"},
	"no disruption budget": {"--set=extauthz.podDisruptionBudget.enabled=false"},
	"the cluster's users":  {"--set=podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=1000680000"},
	"no spread":            {"--set=extauthz.spread.zones=Ignore,extauthz.spread.nodes=Ignore"},
	"no time to sleep":     {"--set=extauthz.drain.preStopSeconds=0"},
	"a digest":             {"--set=image.digest=sha256:" + strings.Repeat("a", 64)},
	"traces":               {"--set=extauthz.tracing.endpoint=http://collector.observability:4317"},
	"a cluster of Redis":   {"--set=redis.address=redis://a:1\\,b:2\\,c"},
}

func deployment(t *testing.T, objects Objects, component string) *appsv1.Deployment {
	t.Helper()
	var d appsv1.Deployment
	objects.into(t, "Deployment", "keygate-"+component, &d)
	return &d
}

// flag is the value of a container's flag; "" where it is absent.
func flag(d *appsv1.Deployment, name string) string {
	for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
		if value, found := strings.CutPrefix(arg, "--"+name+"="); found {
			return value
		}
	}
	return ""
}

// TestDrainFits: the pod is given time to sleep, to tell, and to drain.
func TestDrainFits(t *testing.T) {
	for _, args := range [][]string{nil, {"--set=extauthz.drain.preStopSeconds=7,extauthz.drain.delaySeconds=11,extauthz.drain.timeoutSeconds=60"}} {
		objects := Render(t, args...)
		var values struct {
			Extauthz struct {
				Drain struct{ PreStopSeconds, DelaySeconds, TimeoutSeconds int64 }
			}
		}
		read(t, &values)
		want := values.Extauthz.Drain
		if args != nil {
			want.PreStopSeconds, want.DelaySeconds, want.TimeoutSeconds = 7, 11, 60
		}
		d := deployment(t, objects, "extauthz")
		pod := d.Spec.Template.Spec
		if got := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds; got != want.PreStopSeconds {
			t.Errorf("it sleeps %d s, want %d", got, want.PreStopSeconds)
		}
		if delay, timeout := flag(d, "drain-delay"), flag(d, "drain-timeout"); delay != fmt.Sprintf("%ds", want.DelaySeconds) || timeout != fmt.Sprintf("%ds", want.TimeoutSeconds) {
			t.Errorf("--drain-delay=%s --drain-timeout=%s, want %+v", delay, timeout, want)
		}
		if got := *pod.TerminationGracePeriodSeconds; got <= want.PreStopSeconds+want.DelaySeconds+want.TimeoutSeconds {
			t.Errorf("it is killed after %d s, before it has drained", got)
		}
	}
}

// read reads values.yaml.
func read(t *testing.T, into any) {
	t.Helper()
	text, err := os.ReadFile(Path(t, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// TestAvailability: neither an upgrade nor a drain of nodes leaves requests without
// an answer.
func TestAvailability(t *testing.T) {
	objects := Render(t)
	for component, replicas := range map[string]int32{"controller": 2, "extauthz": 3} {
		d := deployment(t, objects, component)
		if *d.Spec.Replicas != replicas || d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%s: %d replicas, %+v", component, *d.Spec.Replicas, d.Spec.Strategy)
		}
		container := d.Spec.Template.Spec.Containers[0]
		for name, probe := range map[string]*corev1.Probe{"/readyz": container.ReadinessProbe, "/healthz": container.LivenessProbe} {
			if probe == nil || probe.HTTPGet.Path != name || probe.HTTPGet.Port.StrVal != "metrics" {
				t.Errorf("%s: the probe of %s is %+v", component, name, probe)
			}
		}
		if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() || container.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: resources %+v", component, container.Resources)
		}
		var budget policyv1.PodDisruptionBudget
		objects.into(t, "PodDisruptionBudget", "keygate-"+component, &budget)
		if budget.Spec.MaxUnavailable.IntValue() != 1 || budget.Spec.Selector.MatchLabels["app.kubernetes.io/component"] != component {
			t.Errorf("%s: %+v", component, budget.Spec)
		}
		for key, value := range d.Spec.Selector.MatchLabels {
			if d.Spec.Template.Labels[key] != value || budget.Spec.Selector.MatchLabels[key] != value {
				t.Errorf("%s: the label %s finds no pods", component, key)
			}
		}
	}
	spread := deployment(t, objects, "extauthz").Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 2 || spread[0].LabelSelector.MatchLabels["app.kubernetes.io/component"] != "extauthz" {
		t.Errorf("spread: %+v", spread)
	}
}

// TestAutoscaling: the Deployment then leaves the number of replicas alone.
func TestAutoscaling(t *testing.T) {
	objects := Render(t, "--set=extauthz.autoscaling.enabled=true")
	var scaler autoscalingv2.HorizontalPodAutoscaler
	objects.into(t, "HorizontalPodAutoscaler", "keygate-extauthz", &scaler)
	if d := deployment(t, objects, "extauthz"); d.Spec.Replicas != nil || scaler.Spec.ScaleTargetRef.Name != d.Name || *scaler.Spec.MinReplicas != 3 {
		t.Errorf("replicas %v, scaler %+v", d.Spec.Replicas, scaler.Spec)
	}
	if Render(t).Find("HorizontalPodAutoscaler", "keygate-extauthz") != nil {
		t.Error("there is a scaler that nobody asked for")
	}
}

// TestMutualTLS is on unless it is turned off; the key of the authority is not
// mounted.
func TestMutualTLS(t *testing.T) {
	for name, test := range map[string]struct{ secret, client string }{
		"as it is": {"keygate-extauthz-tls", "keygate-client-tls"}, "cert-manager": {"keygate-extauthz-tls", "keygate-client-tls"},
		"own certificates": {"a", "b"}, "no TLS": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			objects := Render(t, switches[name]...)
			d := deployment(t, objects, "extauthz")
			var pod corev1.Pod
			objects.into(t, "Pod", "keygate-selftest", &pod)
			on := test.secret != ""
			if got := flag(d, "tls-cert") != "" && flag(d, "tls-key") != "" && flag(d, "tls-client-ca") != ""; got != on {
				t.Errorf("mutual TLS: %v", got)
			}
			if got := slices.ContainsFunc(pod.Spec.Containers[0].Args, func(a string) bool { return strings.HasPrefix(a, "--tls-cert=") }); got != on {
				t.Errorf("mutual TLS of the self-test: %v", got)
			}
			if !on {
				return
			}
			secret := d.Spec.Template.Spec.Volumes[0].Secret
			if secret.SecretName != test.secret || len(secret.Items) != 3 || pod.Spec.Volumes[0].Secret.SecretName != test.client {
				t.Errorf("extauthz has %+v, the self-test has %s", secret, pod.Spec.Volumes[0].Secret.SecretName)
			}
		})
	}
}

// TestNamespacesAreTold: every component is told both namespaces.
func TestNamespacesAreTold(t *testing.T) {
	objects := Render(t, "--namespace=a", "--set=keysNamespace.name=b", "--set=policyNamespaces={c,d}")
	for _, component := range []string{"controller", "extauthz"} {
		d := deployment(t, objects, component)
		if flag(d, "system-namespace") != "a" || flag(d, "keys-namespace") != "b" || d.Namespace != "a" {
			t.Errorf("%s in %s: %v", component, d.Namespace, d.Spec.Template.Spec.Containers[0].Args)
		}
	}
	if got := flag(deployment(t, objects, "controller"), "policy-namespaces"); got != "c,d" {
		t.Errorf("--policy-namespaces=%s", got)
	}
	if object := objects.Find("Namespace", "b"); object == nil || object.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
		t.Error("the keys namespace is not made, or goes with the release")
	}
}

// TestNetworkPolicies: each component has one that lets in what it serves, and out
// to what it needs, by number: to OVN-Kubernetes a port's name is every port.
func TestNetworkPolicies(t *testing.T) {
	objects := Render(t, switches["a cluster of Redis"]...)
	for component, want := range map[string]struct {
		in  string
		out []int32
	}{
		"controller": {"[9003]", []int32{443, 6443}}, "certs": {"[]", []int32{443, 6443}},
		"extauthz": {"[9001 9002]", []int32{443, 6443, 53, 53, 5353, 5353, 1, 2, 6379}}, "selftest": {"[]", []int32{443, 6443, 53, 53, 5353, 5353, 9001}},
	} {
		var policy networkingv1.NetworkPolicy
		objects.into(t, "NetworkPolicy", "keygate-"+component, &policy)
		var in []int32
		for _, rule := range policy.Spec.Ingress {
			in = append(in, rule.Ports[0].Port.IntVal)
		}
		out := egressPorts(policy)
		if fmt.Sprint(in) != want.in || !slices.Equal(out, want.out) || len(policy.Spec.PolicyTypes) != 2 {
			t.Errorf("%s: in %v, out %v, %v", component, in, out, policy.Spec.PolicyTypes)
		}
		if policy.Spec.PodSelector.MatchLabels["app.kubernetes.io/component"] != component {
			t.Errorf("%s: %+v", component, policy.Spec.PodSelector)
		}
	}
}

// egressPorts are those that a policy lets out to, rule by rule.
func egressPorts(policy networkingv1.NetworkPolicy) []int32 {
	var out []int32
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			out = append(out, port.Port.IntVal)
		}
	}
	return out
}

// TestNetworkPolicyOfTheSetup: the Job that runs before all else, also in a namespace that
// denies all egress, finds its NetworkPolicy there.
func TestNetworkPolicyOfTheSetup(t *testing.T) {
	policy := Render(t).Find("NetworkPolicy", "keygate-certs-setup")
	if policy == nil {
		t.Fatal("there is none")
	}
	job := Render(t).Find("Job", "keygate-certs-setup")
	const hook, weight = "helm.sh/hook", "helm.sh/hook-weight"
	of, its := job.GetAnnotations(), policy.GetAnnotations()
	if its[hook] != of[hook] || of[hook] == "" || its[weight] != "-10" || of[weight] != "0" {
		t.Errorf("the Job has %v, its policy %v", of, its)
	}
}

// TestPortOfRedis: the one of the address, whatever follows it.
func TestPortOfRedis(t *testing.T) {
	for address, want := range map[string]int32{
		"redis://h:7000": 7000, "redis://h:7000/1": 7000, "redis://h:7000?protocol=3": 7000, "redis://h:7000/1?protocol=3": 7000, "redis://h?protocol=3": 6379,
	} {
		var policy networkingv1.NetworkPolicy
		Render(t, "--set=redis.address="+address).into(t, "NetworkPolicy", "keygate-extauthz", &policy)
		rule := policy.Spec.Egress[len(policy.Spec.Egress)-1]
		if got := rule.Ports[0].Port.IntVal; len(rule.Ports) != 1 || got != want {
			t.Errorf("%s: %d ports, %d", address, len(rule.Ports), got)
		}
	}
}

// TestTracing: the collector that is told is the one that may be reached.
func TestTracing(t *testing.T) {
	objects := Render(t, switches["traces"]...)
	container := deployment(t, objects, "extauthz").Spec.Template.Spec.Containers[0]
	want := []corev1.EnvVar{{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: "http://collector.observability:4317"}}
	if !slices.Contains(container.Args, "--tracing") || !slices.Equal(container.Env, want) {
		t.Errorf("%v, %v", container.Args, container.Env)
	}
	var policy networkingv1.NetworkPolicy
	objects.into(t, "NetworkPolicy", "keygate-extauthz", &policy)
	if out := egressPorts(policy); !slices.Equal(out, []int32{443, 6443, 53, 53, 5353, 5353, 4317}) {
		t.Errorf("out to %v", out)
	}
	if plain := deployment(t, Render(t), "extauthz").Spec.Template.Spec.Containers[0]; slices.Contains(plain.Args, "--tracing") || len(plain.Env) > 0 {
		t.Errorf("there are traces that nobody asked for: %v, %v", plain.Args, plain.Env)
	}
}

// TestRedis: its password is a file, and so are its certificates.
func TestRedis(t *testing.T) {
	d := deployment(t, Render(t, everything...), "extauthz")
	pod := d.Spec.Template.Spec
	for name, want := range map[string]string{
		"rate-limit-redis": "rediss://redis.test:6380/1", "rate-limit-redis-password-file": "/redis/password/password",
		"rate-limit-redis-ca": "/redis/ca/ca.crt", "rate-limit-redis-cert": "/redis/client/tls.crt", "rate-limit-redis-key": "/redis/client/tls.key", "rate-limit-timeout": "100ms",
	} {
		if got := flag(d, name); got != want {
			t.Errorf("--%s=%s, want %s", name, got, want)
		}
	}
	if len(pod.Volumes) != 4 || len(pod.Containers[0].VolumeMounts) != 4 {
		t.Errorf("%d volumes, %d mounts", len(pod.Volumes), len(pod.Containers[0].VolumeMounts))
	}
	if plain := deployment(t, Render(t), "extauthz"); flag(plain, "rate-limit-redis") != "" || flag(plain, "rate-limit-timeout") != "" {
		t.Error("there is a Redis that nobody asked for")
	}
}
