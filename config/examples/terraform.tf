# Creates a DLIJob for a job in DLI, for Terraform or OpenTofu. The apply succeeds when the
# job has, and fails when it did not, or as soon as waiting does not help:
#
#   terraform apply -var=job_id=208b08d4-0dc2-4dd7-8879-ddd4c020d7aa
#
# It requires kubectl and a kubeconfig where Terraform runs.

variable "job_id" {
  description = "ID of the job in DLI"
  type        = string
}

resource "terraform_data" "wait_for_dli" {
  # A new ID replaces the resource, which then waits again.
  triggers_replace = var.job_id

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-ec"]
    environment = {
      DLI_JOB_ID = var.job_id
    }
    command = <<-SCRIPT
      job=$(kubectl create -o name -f - <<END
      apiVersion: dli.huaweicloud.com/v1alpha1
      kind: DLIJob
      metadata:
        generateName: load-
      spec:
        jobID: "$DLI_JOB_ID"
        ttlSecondsAfterFinished: 86400
      END
      )
      # For two hours at most.
      for attempt in $(seq 240); do
        kubectl wait --for=condition=Completed --timeout=30s "$job" && break
        kubectl wait --for=condition=Stalled --timeout=0 "$job" && break
      done
      kubectl get -o wide "$job"
      kubectl wait --for=condition=Succeeded --timeout=0 "$job"
    SCRIPT
  }
}
