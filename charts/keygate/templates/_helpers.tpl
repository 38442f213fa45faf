{{- /* Labels of every object. */ -}}
{{- define "keygate.labels" -}}
app.kubernetes.io/part-of: keygate
app.kubernetes.io/name: keygate
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Labels that find the pods of one component: (dict "component" NAME "root" $). */ -}}
{{- define "keygate.selector" -}}
app.kubernetes.io/name: keygate
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* Labels of a component's objects and pods. */ -}}
{{- define "keygate.componentLabels" -}}
{{ include "keygate.labels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "keygate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What every pod has: the restricted Pod Security Standard. */ -}}
{{- define "keygate.podSecurity" -}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $name, $id := .Values.podSecurityContext }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $name }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* What every container has. */ -}}
{{- define "keygate.container" -}}
image: {{ include "keygate.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Where a component's pods run: (dict "values" .Values.extauthz). */ -}}
{{- define "keygate.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Whether the connection to extauthz is TLS: "true" or "". */ -}}
{{- define "keygate.tls" -}}
{{- if ne .Values.tls.provider "None" }}true{{ end -}}
{{- end -}}

{{- define "keygate.serverSecret" -}}
{{- if eq .Values.tls.provider "Existing" -}}
{{ required "tls.existing.serverSecret must be set with tls.provider: Existing" .Values.tls.existing.serverSecret }}
{{- else -}}
keygate-extauthz-tls
{{- end -}}
{{- end -}}

{{- define "keygate.clientSecret" -}}
{{- if eq .Values.tls.provider "Existing" -}}
{{ required "tls.existing.clientSecret must be set with tls.provider: Existing" .Values.tls.existing.clientSecret }}
{{- else -}}
keygate-client-tls
{{- end -}}
{{- end -}}

{{- /* The Secrets with clients' certificates, the release's own first, as a JSON list. */ -}}
{{- define "keygate.clients" -}}
{{- $clients := list (dict "namespace" .Release.Namespace "name" "keygate-client-tls") -}}
{{- range $namespace, $name := .Values.tls.clients -}}
{{- with $name -}}
{{- $clients = append $clients (dict "namespace" $namespace "name" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $clients -}}
{{- end -}}

{{- /* DNS names of extauthz, as a JSON list. */ -}}
{{- define "keygate.serverNames" -}}
{{- $service := printf "keygate-extauthz.%s" .Release.Namespace -}}
{{- $names := list (printf "%s.svc" $service) (printf "%s.svc.%s" $service .Values.tls.clusterDomain) $service "keygate-extauthz" -}}
{{- concat $names .Values.tls.extraServerNames | toJson -}}
{{- end -}}

{{- /* What the pods of a component may be scraped by: (dict "port" PORT "root" $). The ports of
NetworkPolicies are numbers: some networks take a name for every port. */ -}}
{{- define "keygate.metricsIngress" -}}
- ports:
  - {protocol: TCP, port: {{ .port }}}
  {{- with .root.Values.networkPolicy.metricsFrom }}
  from: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "keygate.apiServerEgress" -}}
- ports:
  {{- range .Values.networkPolicy.apiServerPorts }}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
{{- end -}}

{{- define "keygate.dnsEgress" -}}
- ports:
  {{- range .Values.networkPolicy.dnsPorts }}
  - {protocol: UDP, port: {{ . }}}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
{{- end -}}
