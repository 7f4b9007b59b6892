/**
 * What the Lua scripts have in common. One script call is atomic, so an item and what it adds to the tree never part.
 *
 * Keys, all behind the prefix `P`:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `P item:<id>` | hash | `m`: one line of text, `version updatedAt kind hash traceparent state` (kind `j` JSON, `b` binary, `d` tombstone; `-` for no traceparent; state may be missing), `c`: the content, `l`: 32 bytes leaf digest and 8 of the epoch, present on what is in the tree |
 * | `P epoch` | string | eight characters; the tree whose keys carry them is the valid one |
 * | `P tree:<epoch>:<path>` | string | a node: count (double) and sum (32 bytes), big-endian |
 * | `P branches:<epoch>:<path>` | zset | names of the nodes one level below, all scores 0 |
 * | `P leaves:<epoch>:<path>` | zset | last segments of the items one level below, all scores 0 |
 * | `P unfinished` | string | `rebuild` or `reset`, while the one that began the epoch is under way or was broken off |
 * | `P owner` | string | the archive this cache belongs to; expires unless it is renewed |
 * | `P changes` | stream | the change stream |
 *
 * Lua counts in doubles. Sums are therefore added as eight 32-bit words with carries, which stays exact for any
 * number of changes; versions arrive as decimal text and are at most 2^53 - 1.
 */
import { createHash } from "node:crypto"

/** A Lua script and the name the server knows it by. */
export interface LuaScript {
  readonly source: string
  readonly sha: string
}

/**
 * Every script begins with these. Another program's value in the place of ours is what `attempt` returns as an error;
 * any other failure, such as a command that the user may not run, ends the script.
 */
const base = `
local P = KEYS[1]
local function attempt(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'WRONGTYPE', 1, true) then error(reply) end
  return reply
end

-- What the server says of itself, or nothing and why that was refused.
local function ask()
  local info = redis.pcall('INFO', 'server', 'replication', 'memory')
  if type(info) == 'table' then return '', info.err or 'refused' end
  return info, ''
end

-- Goes through encoded ids.
local function ids(data)
  local pos, size, unpack = 1, #data, struct.unpack
  return function()
    if pos > size then return nil end
    local id
    id, pos = unpack('>I2c0', data, pos)
    return id
  end
end
`

/** What is in the tree, for scripts that read or write it. */
const tree = `
local WORDS = '>I4I4I4I4I4I4I4I4'
local NODE = '>dI4I4I4I4I4I4I4I4'
local EMPTY = struct.pack(NODE, 0, 0, 0, 0, 0, 0, 0, 0, 0)
local E

-- The valid epoch. Without one (a new or flushed server) the tree is empty, and a writer begins it with its own token.
local function epoch(fresh)
  local e = attempt('GET', P .. 'epoch')
  if type(e) == 'string' and #e == 8 then return e end
  if fresh then redis.call('SET', P .. 'epoch', fresh) end
  return fresh
end

local function itemKey(id) return P .. 'item:' .. id end
local function treeKey(kind, path) return P .. kind .. E .. ':' .. path end
local function below(path, name)
  if path == '' then return name end
  return path .. '.' .. name
end

-- The digest that this item has in the tree of this epoch, or nothing.
local function leafIn(l)
  if type(l) == 'string' and #l == 40 and string.sub(l, 33) == E then return string.sub(l, 1, 32) end
end

-- One leaf enters (sign 1) or leaves (sign -1) what was added up.
local function add(d, digest, sign)
  local a, b, c, e, f, g, h, i = struct.unpack(WORDS, digest)
  d[1] = d[1] + sign
  d[2] = d[2] + sign * a; d[3] = d[3] + sign * b; d[4] = d[4] + sign * c; d[5] = d[5] + sign * e
  d[6] = d[6] + sign * f; d[7] = d[7] + sign * g; d[8] = d[8] + sign * h; d[9] = d[9] + sign * i
end

-- A stored node, if it is one, with what was added up.
local function merged(node, d)
  local w = {struct.unpack(NODE, node and #node == 40 and node or EMPTY)}
  w[1] = w[1] + d[1]
  local carry = 0
  for k = 9, 2, -1 do
    local x = w[k] + d[k] + carry
    carry = math.floor(x / 4294967296)
    w[k] = x - carry * 4294967296
  end
  return struct.pack(NODE, unpack(w, 1, 9))
end
`

/** How a batch's leaves change the tree. */
const settle = `
local deltas, relist = {}, {}
local lists = {ZADD = {}, ZREM = {}}

local function parentOf(path) return string.match(path, '^(.*)%.') or '' end
local function nameOf(path, parent)
  if parent == '' then return path end
  return string.sub(path, #parent + 2)
end

-- One leaf below parent leaves (sign -1) or enters (sign 1) the sums.
local function count(parent, digest, sign)
  local d = deltas[parent]
  if not d then d = {0, 0, 0, 0, 0, 0, 0, 0, 0}; deltas[parent] = d end
  add(d, digest, sign)
end

-- The name of a path enters (ZADD) or leaves (ZREM) the list above it.
local function list(command, kind, path, parent)
  local key = treeKey(kind, parent)
  local l = lists[command][key]
  if not l then l = {}; lists[command][key] = l end
  if command == 'ZADD' then l[#l + 1] = '0' end
  l[#l + 1] = nameOf(path, parent)
end

local function settle()
  local total, paths = {}, {}
  for parent, d in pairs(deltas) do
    local at = parent
    while true do
      local t = total[at]
      if not t then
        t = {0, 0, 0, 0, 0, 0, 0, 0, 0}
        total[at] = t
        paths[#paths + 1] = at
      end
      for i = 1, 9 do t[i] = t[i] + d[i] end
      if relist[parent] then t.relist = true end
      if at == '' then break end
      at = parentOf(at)
    end
  end
  for from = 1, #paths, 1000 do
    local keys, set, gone = {}, {}, {}
    for i = from, math.min(from + 999, #paths) do keys[#keys + 1] = treeKey('tree:', paths[i]) end
    local nodes = redis.call('MGET', unpack(keys))
    for i, key in ipairs(keys) do
      local path, node = paths[from + i - 1], nodes[i]
      local bytes = merged(node, total[path])
      if bytes == EMPTY then
        if node then gone[#gone + 1] = key end
        if path ~= '' then list('ZREM', 'branches:', path, parentOf(path)) end
      else
        set[#set + 1] = key
        set[#set + 1] = bytes
        if path ~= '' and (not node or total[path].relist) then list('ZADD', 'branches:', path, parentOf(path)) end
      end
    end
    if #set > 0 then redis.call('MSET', unpack(set)) end
    if #gone > 0 then redis.call('DEL', unpack(gone)) end
  end
  for command, keys in pairs(lists) do
    for key, l in pairs(keys) do
      for from = 1, #l, 2000 do
        local to = math.min(from + 1999, #l)
        local done = attempt(command, key, unpack(l, from, to))
        -- Another program's key in the place of a list is replaced.
        if type(done) == 'table' and done.err then
          redis.call('DEL', key)
          if command == 'ZADD' then redis.call(command, key, unpack(l, from, to)) end
        end
      end
    end
  end
end
`

const named = (source: string): LuaScript => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})

/** A script that leaves the tree alone. */
export const plainScript = (source: string): LuaScript => named(base + source)

/** A script that asks for the tree's epoch, or reads the tree. */
export const treeScript = (source: string): LuaScript => named(base + tree + source)

/** A script that changes items together with the tree; it ends by calling `settle`. */
export const itemScript = (source: string): LuaScript => named(base + tree + settle + source)
