/** The Lua scripts that read. They change nothing, and a value of another type counts as absent. */
import { attempt, prelude } from "./scripts.js"

/**
 * Reads records. Arguments: a bound on the bytes of contents, the packed ids. Returns line, content and whether it is
 * in the tree (1 or 0) of each id, in order (line `0` for a foreign value); fewer ids than asked for when the bytes
 * would exceed the bound, at least one.
 */
export const readScript = `${attempt}
local P, limit, data = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local out, n, bytes, pos, size = {}, 0, 0, 1, #data
local read, unpack = attempt, struct.unpack
local I = P .. 'item:'
while pos <= size and bytes < limit do
  local id
  id, pos = unpack('>I2c0', data, pos)
  local r = read('HMGET', I .. id, 'm', 'c', 'l')
  if r.err then r = {0, false, false} end
  local c = r[2]
  if c then bytes = bytes + #c end
  out[n + 1] = r[1]
  out[n + 2] = c
  out[n + 3] = r[3] and 1 or 0
  n = n + 3
end
return out
`

/** Reads the line of each id, in order (`0` for a foreign value). Argument: the packed ids. */
export const headsScript = `${attempt}
local P, data = KEYS[1], ARGV[1]
local out, pos, size = {}, 1, #data
while pos <= size do
  local id
  id, pos = struct.unpack('>I2c0', data, pos)
  local m = attempt('HGET', P .. 'item:' .. id, 'm')
  if type(m) == 'table' then m = 0 end
  out[#out + 1] = m
end
return out
`

/** One node. Argument: the path. Returns its 40 bytes or nothing. */
export const nodeScript = `${prelude}
local E = epoch()
if not E then return false end
local node = redis.call('MGET', P .. 'tree:' .. E .. ':' .. ARGV[1])[1]
return node
`

const range = `
local function page(key, from, to, limit)
  local names = attempt('ZRANGEBYLEX', key, from, to, 'LIMIT', '0', limit)
  if names.err then return {} end
  return names
end
local function below(path, name)
  if path == '' then return name end
  return path .. '.' .. name
end
`

/**
 * A page of children. Arguments: the path, where branches and where leaves begin (ZRANGEBYLEX bounds), the limit.
 * Returns branch names, their nodes, leaf names, their digests; up to `limit` of each kind.
 */
export const childrenScript = `${prelude}${range}
local path, limit = ARGV[1], ARGV[4]
local E = epoch()
if not E then return {{}, {}, {}, {}} end
local branches = page(P .. 'branches:' .. E .. ':' .. path, ARGV[2], '+', limit)
local nodes = {}
for i, name in ipairs(branches) do
  nodes[i] = redis.call('MGET', P .. 'tree:' .. E .. ':' .. below(path, name))[1]
end
local leaves = page(P .. 'leaves:' .. E .. ':' .. path, ARGV[3], '+', limit)
local digests = {}
for i, name in ipairs(leaves) do
  local l = attempt('HGET', P .. 'item:' .. below(path, name), 'l')
  digests[i] = type(l) == 'string' and leafIn(E, l) or ''
end
return {branches, nodes, leaves, digests}
`

/**
 * A page of leaves. Arguments: the path, where to begin, the limit. Returns name, line and digest of each
 * (empty texts for what is listed but not there).
 */
export const leavesScript = `${prelude}${range}
local path = ARGV[1]
local E = epoch()
if not E then return {} end
local out = {}
for _, name in ipairs(page(P .. 'leaves:' .. E .. ':' .. path, ARGV[2], '+', ARGV[3])) do
  local r = attempt('HMGET', P .. 'item:' .. below(path, name), 'm', 'l')
  if r.err then r = {} end
  out[#out + 1] = name
  out[#out + 1] = r[1] or ''
  out[#out + 1] = leafIn(E, r[2]) or ''
end
return out
`

/**
 * Adds up a stretch of leaves. Arguments: the path, where to begin, where to end, how many at most. Returns how
 * many were listed, the last name, and a node of those that are there.
 */
export const leafRangeScript = `${prelude}${range}
local path = ARGV[1]
local E = epoch()
if not E then return {0, '', struct.pack(NODE, 0, 0, 0, 0, 0, 0, 0, 0, 0)} end
local names = page(P .. 'leaves:' .. E .. ':' .. path, ARGV[2], ARGV[3], ARGV[4])
local w = {0, 0, 0, 0, 0, 0, 0, 0, 0}
for _, name in ipairs(names) do
  local l = attempt('HGET', P .. 'item:' .. below(path, name), 'l')
  local leaf = type(l) == 'string' and leafIn(E, l)
  if leaf then
    w[1] = w[1] + 1
    local a, b, c, d, e, f, g, h = struct.unpack(WORDS, leaf)
    w[2] = w[2] + a; w[3] = w[3] + b; w[4] = w[4] + c; w[5] = w[5] + d
    w[6] = w[6] + e; w[7] = w[7] + f; w[8] = w[8] + g; w[9] = w[9] + h
  end
end
local carry = 0
for k = 9, 2, -1 do
  local x = w[k] + carry
  carry = math.floor(x / 4294967296)
  w[k] = x - carry * 4294967296
end
return {#names, names[#names] or '', struct.pack(NODE, w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9])}
`

/**
 * Proves that this server takes writes (by a deletion of what is not there), and returns which of the commands that
 * an engine needs this user may not run.
 */
export const examineScript = `
local K = KEYS[1] .. 'item:'
redis.call('DEL', KEYS[1] .. 'examined')
local lacking = {}
for _, command in ipairs({
  {'GET', K}, {'SET', K, ''}, {'UNLINK', K}, {'TYPE', K}, {'HGET', K, 'm'}, {'HMGET', K, 'm'}, {'HSET', K, 'm', ''},
  {'PEXPIRE', K, '1'}, {'PTTL', K}, {'MGET', K}, {'MSET', K, ''}, {'ZADD', K, '0', ''}, {'ZREM', K, ''},
  {'ZRANGEBYLEX', K, '-', '+'}, {'XADD', K, '*', 'a', 'b'}, {'XRANGE', K, '-', '+'}, {'SCAN', '0'},
  {'EVALSHA', '', '1', K}
}) do
  if not redis.acl_check_cmd(unpack(command)) then lacking[#lacking + 1] = command[1] end
end
return lacking
`
