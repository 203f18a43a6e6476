-- Health of a DLIConnection: Healthy when it is usable, Progressing during temporary
-- failures, else Degraded.
local status = obj.status or {}

local ready = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  end
end

-- A Secret may not exist yet, for example that of an ExternalSecret.
local passing = { CircuitOpen = true, RateLimited = true, SecretNotFound = true }

if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the DLI operator to see the DLIConnection or its latest change" }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
if ready.status == "False" and not passing[ready.reason] then
  return { status = "Degraded", message = ready.message }
end
return { status = "Progressing", message = ready.message or "Waiting for the DLI operator" }
