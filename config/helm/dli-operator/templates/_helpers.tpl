{{/* The beginning of every name. Names of Services begin with a letter and have no dots. */}}
{{- define "dli-operator.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if regexMatch "^[0-9]" $release -}}
{{- printf "%s-%s" .Chart.Name ($release | trunc 23 | trimSuffix "-") -}}
{{- else if contains .Chart.Name $release -}}
{{- $release | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" ($release | trunc 23 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* What never changes during the life of a release. A dict, so that toYaml quotes names
such as 1 and y. */}}
{{- define "dli-operator.selectorLabels" -}}
{{- dict
  "app.kubernetes.io/name" "dli-operator"
  "app.kubernetes.io/component" "controller-manager"
  "app.kubernetes.io/instance" .Release.Name
| toYaml -}}
{{- end -}}

{{/* On everything. */}}
{{- define "dli-operator.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" "dli-operator"
  "app.kubernetes.io/part-of" "dli-operator"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{/* The pods' labels: those of the selectors, then those for pods, then those for all. */}}
{{- define "dli-operator.podLabels" -}}
{{- merge (include "dli-operator.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "dli-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (printf "%s-controller-manager" (include "dli-operator.fullname" .)) -}}
{{- end -}}

{{- define "dli-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The subject of the operator's bindings. */}}
{{- define "dli-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "dli-operator.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* Not empty if others than the pod itself reach the metrics: to tell who may
takes a right in the whole cluster, to review tokens. */}}
{{- define "dli-operator.metricsPort" -}}
{{- if and .Values.metrics.enabled (not (and .Values.rbac.namespaced .Values.metrics.secure)) -}}
true
{{- end -}}
{{- end -}}

{{/* The name of the metrics' Service. */}}
{{- define "dli-operator.metricsService" -}}
{{- include "dli-operator.fullname" . }}-controller-manager-metrics
{{- end -}}

{{/* The Secret with the metrics' certificate; empty if the operator signs it itself. */}}
{{- define "dli-operator.metricsCertificate" -}}
{{- $certificate := .Values.metrics.certificate -}}
{{- if and (include "dli-operator.metricsPort" .) .Values.metrics.secure -}}
{{- if $certificate.secretName -}}
{{- $certificate.secretName -}}
{{- else if $certificate.certManager.enabled -}}
{{- include "dli-operator.fullname" . }}-metrics-certificate
{{- end -}}
{{- end -}}
{{- end -}}
