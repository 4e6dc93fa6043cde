"""The atomic steps of the coordinator, in Lua; only the coordinator's Redis user has the rights they need.
Keys are derived from job ids instead of declared as KEYS, as Redis is not a cluster."""

from __future__ import annotations

_NOW = """
local tm = redis.call('TIME')
local now = tonumber(tm[1]) + tonumber(tm[2]) / 1e6
"""

# Removes a job from everything that marks it as running. A node may write these keys: a key of the wrong type
# would end the script with an error, and with it the pass for every other node.
_UNSTART = """
local function must_be(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then redis.call('DEL', key) end
end
local function unstart(queue, id)
  must_be('rq:executions:' .. id, 'zset')
  for _, execution in ipairs(redis.call('ZRANGE', 'rq:executions:' .. id, 0, 999)) do
    redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. execution)
    redis.call('DEL', 'rq:execution:' .. id .. ':' .. execution)
  end
  redis.call('DEL', 'rq:executions:' .. id)
end
"""

RETAKE = (
    _UNSTART
    + """
local queue, id, since, until_ = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local job, list = 'rq:job:' .. id, 'rq:queue:' .. queue
must_be(job, 'hash')
if redis.call('LREM', list, 0, id) == 0 then
  -- Claimed or closed a moment ago: its word is on the way. Longer ago and not heard of: it may be tried
  -- again, since the node's own journal refuses a second start.
  local claimed, ended = unpack(redis.call('HMGET', job, 'started_at', 'ended_at'))
  for _, touched in ipairs({claimed or '', ended or ''}) do
    if touched > since and touched < until_ then return 0 end
  end
end
unstart(queue, id)
redis.call('ZREM', 'rq:finished:' .. queue, id)
redis.call('ZREM', 'rq:failed:' .. queue, id)
redis.call('DEL', job, 'rq:results:' .. id)
return 1
"""
)
"""Prepares the queueing of a job. ARGV: queue, job id, and the two times between which a claim or an end
counts as recent, in RQ's format. Returns 0 if the job must not be queued now."""

CLOSE = (
    _NOW
    + _UNSTART
    + """
local queue, id, status, iso = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl, keep, worker = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local job = 'rq:job:' .. id
redis.call('LREM', 'rq:queue:' .. queue, 0, id)
unstart(queue, id)
if ARGV[9] ~= '' then redis.call('ZREM', 'rq:wip:' .. queue, ARGV[9]) end
must_be(job, 'hash')
must_be('rq:worker:' .. worker, 'hash')
if redis.call('EXISTS', job) == 0 then return 0 end
if redis.call('HSTRLEN', job, 'data') > 4096 then redis.call('HSET', job, 'data', ARGV[8]) end
local ran = redis.call('HGET', job, 'status') == 'started'
local said = 1
if ran and redis.call('EXISTS', 'rq:worker:' .. worker) == 1 then
  local count = status == 'finished' and 'successful_job_count' or 'failed_job_count'
  local counted = redis.pcall('HINCRBY', 'rq:worker:' .. worker, count, 1)
  if type(counted) == 'table' and counted.err then  -- its node wrote something else there
    redis.call('HSET', 'rq:worker:' .. worker, count, 1)
    said = 2
  end
end
redis.call('HSET', job, 'status', status, 'ended_at', iso)
redis.call('EXPIRE', job, ttl)
local registry = 'rq:' .. status .. ':' .. queue
redis.call('ZREM', 'rq:finished:' .. queue, id)
redis.call('ZREM', 'rq:failed:' .. queue, id)
redis.call('ZADD', registry, now + ttl, id)
local results = 'rq:results:' .. id
redis.call('DEL', results)
redis.call('XADD', results, '*', unpack(ARGV, 10))
redis.call('EXPIRE', results, ttl)
local surplus = redis.call('ZCARD', registry) - keep
if surplus > 0 then  -- a few of them each time: the node writes this registry, and others wait
  for _, old in ipairs(redis.call('ZRANGE', registry, 0, math.min(surplus, 100) - 1)) do
    if string.sub(old, 1, #worker + 1) == worker .. '_' then
      redis.call('DEL', 'rq:job:' .. old, 'rq:results:' .. old)
    else  -- the name of another's job is not a reason to delete it
      said = 3
    end
    redis.call('ZREM', registry, old)
  end
end
return said
"""
)
"""Closes a job. ARGV: queue, job id, finished|failed, time, seconds to keep, number to keep, worker, what
replaces a large call afterwards, the entry that names it as started, fields of result. Returns 1, or 0 for a
job that does not exist; 2 if the worker's counter was not a number; 3 if the registry named another node's
job."""
