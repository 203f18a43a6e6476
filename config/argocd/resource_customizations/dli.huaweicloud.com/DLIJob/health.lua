-- Health of a DLIJob: Healthy when the job succeeded, Degraded when waiting
-- does not help, Suspended while it is not polled, else Progressing.
local status = obj.status or {}

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function health(what, otherwise)
  local ready = conditions.Ready or {}
  return { status = what, message = ready.message or otherwise }
end

if obj.spec.suspend and not is("Completed") then
  return { status = "Suspended", message = "spec.suspend is true, so the job is not polled" }
end
-- A deletion changes the generation, too. It is seen here of hooks, which Argo CD
-- keeps until it knows how they ended.
local deleted = obj.metadata.deletionTimestamp ~= nil
if not deleted and (status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation) then
  return { status = "Progressing", message = "Waiting for the DLI operator to see the DLIJob or its latest change" }
end
if is("Reconciling") then
  return health("Progressing", "Waiting for the end of the job")
end
if is("Stalled") then
  return health("Degraded", "Waiting does not help")
end
if is("Ready") then
  return health("Healthy", "The job succeeded")
end
return health("Progressing", "Waiting for the DLI operator")
