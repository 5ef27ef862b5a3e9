{{/* What the parts of the control plane share. Each is given a dict: root is the chart's scope, part the name in the
     annotation dapr.io/control-plane, values the part's own. */}}

{{- define "daprd.trustDomain" -}}
{{ .Values.dapr_sentry.trustDomain | default .Values.global.mtls.controlPlaneTrustDomain }}
{{- end -}}

{{- define "daprd.sentryAddress" -}}
dapr-sentry.{{ .Release.Namespace }}.svc.{{ .Values.dapr_sidecar_injector.kubeClusterDomain }}:443
{{- end -}}

{{- define "daprd.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: dapr
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.global.k8sLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* image takes a dict of root and image. */}}
{{- define "daprd.image" -}}
{{- $name := .image.name -}}
{{- if not (contains "/" $name) -}}
{{- $name = printf "%s/%s" .root.Values.global.registry $name -}}
{{- end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default .root.Values.global.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* replicas takes a dict of root and values. */}}
{{- define "daprd.replicas" -}}
{{- if .root.Values.global.ha.enabled }}{{ .root.Values.global.ha.replicaCount }}{{ else }}{{ .values.replicaCount }}{{ end -}}
{{- end -}}

{{- define "daprd.podMeta" -}}
labels:
  app: {{ .app }}
  {{- include "daprd.labels" .root | nindent 2 }}
  {{- with .root.Values.global.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  dapr.io/control-plane: {{ .part }}
  {{- if .root.Values.global.prometheus.enabled }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .root.Values.global.prometheus.port | quote }}
  prometheus.io/path: /
  {{- end }}
  {{- with .annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* where is where a part's pods run, and what they run with. */}}
{{- define "daprd.where" -}}
serviceAccountName: {{ .account }}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
{{- if kindIs "string" . }}
- name: {{ . }}
{{- else }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .root.Values.global.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.global.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.global.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
securityContext:
  runAsNonRoot: {{ .values.runAsNonRoot }}
  fsGroup: 65532
  {{- with .root.Values.global.seccompProfile }}
  seccompProfile:
    type: {{ . }}
  {{- end }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions:
        - {key: kubernetes.io/os, operator: In, values: [{{ .root.Values.global.daprControlPlaneOs }}]}
        {{- with .root.Values.global.daprControlPlaneArch }}
        - {key: kubernetes.io/arch, operator: In, values: [{{ . }}]}
        {{- end }}
  podAntiAffinity:
    {{- $spread := dict "topologyKey" .root.Values.global.ha.topologyKey "labelSelector" (dict "matchLabels" (dict "app" .app)) }}
    {{- if eq .root.Values.global.ha.podAntiAffinityPolicy "requiredDuringSchedulingIgnoredDuringExecution" }}
    requiredDuringSchedulingIgnoredDuringExecution:
    - {{- toYaml $spread | nindent 6 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        {{- toYaml $spread | nindent 8 }}
    {{- end }}
{{- end -}}

{{/* flags are those that every part has. */}}
{{- define "daprd.flags" -}}
- --log-level
- {{ .values.logLevel }}
- --log-as-json={{ .root.Values.global.logAsJson }}
- --enable-metrics={{ .root.Values.global.prometheus.enabled }}
- --metrics-port
- {{ .root.Values.global.prometheus.port | quote }}
- --healthz-port
- {{ .healthPort | default 8080 | quote }}
{{- end -}}

{{/* container is what every part's has beside flags, ports and mounts. */}}
{{- define "daprd.container" -}}
imagePullPolicy: {{ .root.Values.global.imagePullPolicy }}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  initialDelaySeconds: 180
  periodSeconds: 10
  failureThreshold: 5
readinessProbe:
  httpGet: {path: /healthz, port: health}
  initialDelaySeconds: 1
  periodSeconds: 1
  failureThreshold: 3
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: {{ .values.runAsNonRoot }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "daprd.ports" -}}
- {name: health, containerPort: {{ .healthPort | default 8080 }}}
{{- if .root.Values.global.prometheus.enabled }}
- {name: metrics, containerPort: {{ .root.Values.global.prometheus.port }}}
{{- end }}
{{- end -}}

{{/* identity is what a part needs for its certificate: the roots, and a token that says to sentry who it is. */}}
{{- define "daprd.identity.mounts" -}}
- {name: trust-anchors, mountPath: /var/run/secrets/dapr.io/tls, readOnly: true}
- {name: sentry-token, mountPath: /var/run/secrets/dapr.io/sentrytoken, readOnly: true}
{{- end -}}

{{- define "daprd.identity.volumes" -}}
- name: trust-anchors
  configMap:
    name: dapr-trust-bundle
- name: sentry-token
  projected:
    sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 600
        audience: spiffe://{{ include "daprd.trustDomain" .root }}/ns/{{ .root.Release.Namespace }}/dapr-sentry
{{- end -}}

{{/* disruption is the budget of a part in several replicas. */}}
{{- define "daprd.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .app }}-disruption-budget
  namespace: {{ .root.Release.Namespace }}
  labels:
    app: {{ .app }}
    {{- include "daprd.labels" .root | nindent 4 }}
spec:
  {{- with .root.Values.global.ha.disruption }}
  {{- if .minimumAvailable }}
  minAvailable: {{ .minimumAvailable }}
  {{- else }}
  maxUnavailable: {{ .maximumUnavailable }}
  {{- end }}
  {{- end }}
  selector:
    matchLabels:
      app: {{ .app }}
{{- end -}}

{{/* meta is the metadata of an object of a part. */}}
{{- define "daprd.meta" -}}
namespace: {{ .root.Release.Namespace }}
labels:
  app: {{ .app }}
  {{- include "daprd.labels" .root | nindent 2 }}
{{- end -}}

{{/* onlyNamespace is where applications are with global.rbac.namespaced, without it empty: anywhere. */}}
{{- define "daprd.onlyNamespace" -}}
{{ if .Values.global.rbac.namespaced }}{{ .Release.Namespace }}{{ end }}
{{- end -}}

{{/* role takes a dict of root, name, account, rules and namespace: rights in that namespace, without one in all. */}}
{{- define "daprd.role" -}}
{{- if .namespace -}}
{{ include "daprd.roleIn" . }}
{{- else -}}
{{ include "daprd.clusterRole" . }}
{{- end -}}
{{- end -}}

{{- define "daprd.clusterRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels:
    {{- include "daprd.labels" .root | nindent 4 }}
rules:
{{ toYaml .rules }}
---
{{ include "daprd.binding" (set . "kind" "ClusterRole") }}
{{- end -}}

{{- define "daprd.roleIn" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "daprd.labels" .root | nindent 4 }}
rules:
{{ toYaml .rules }}
---
{{ include "daprd.binding" (set . "kind" "Role") }}
{{- end -}}

{{/* ownRole is for objects of the control plane itself. */}}
{{- define "daprd.ownRole" -}}
{{ include "daprd.roleIn" (set . "namespace" .root.Release.Namespace) }}
{{- end -}}

{{- define "daprd.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- if eq .kind "Role" }}
  namespace: {{ .namespace }}
  {{- end }}
  labels:
    {{- include "daprd.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- define "daprd.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "daprd.labels" .root | nindent 4 }}
{{- end -}}
