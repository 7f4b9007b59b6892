/**
 * What the Lua scripts have in common. One script call is atomic, so an item and what it adds to the tree never part.
 *
 * Keys, all behind the prefix `P`:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `P item:<id>` | string | an item: head and content; see `ItemValue.ts` |
 * | `P epoch` | string | nine characters, the format of the keys and a number; the tree whose keys carry them is the valid one |
 * | `P tree:<epoch>:<path>` | string | a node: count (double) and sum (32 bytes), big-endian |
 * | `P branches:<epoch>:<path>` | zset | names of the nodes one level below, all scores 0 |
 * | `P leaves:<epoch>:<path>` | zset | last segments of the items one level below, all scores 0 |
 * | `P unfinished` | string | `rebuild` or `reset`, while the one that began the epoch is under way or was broken off |
 * | `P owner` | string | the archive this cache belongs to; expires unless it is renewed |
 * | `P changes` | stream | the change stream |
 *
 * Lua counts in doubles. Sums are therefore added as eight 32-bit words with carries, which stays exact for any
 * number of changes.
 */
import { createHash } from "node:crypto"
import { headBytes, traceBytes } from "./ItemValue.js"

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

/** The first character of every epoch: another one, or none, is what another version of this package has left behind. */
export const keyFormat = "2"

/** What is in the tree, for scripts that read or write it. */
const tree = `
local E, MARK

-- Makes an epoch the one whose tree this script works on.
local function use(e)
  E = e
  MARK = struct.pack('>I4', tonumber(string.sub(e, 2), 16))
end

-- What another version of the package has left behind, or another program, is cleared away by the next comparison.
local function leftBehind() redis.call('SET', P .. 'unfinished', 'rebuild') end

-- The valid epoch. Without one (a new or flushed server) the tree is empty, and a writer begins it with its own token.
-- The second value says whether something else stands there.
local function epoch(fresh)
  local e = attempt('GET', P .. 'epoch')
  if type(e) == 'string' and string.match(e, '^${keyFormat}%x%x%x%x%x%x%x%x$') then return e end
  if not fresh then return nil, e and true end
  redis.call('SET', P .. 'epoch', fresh)
  if e then leftBehind() end
  return fresh
end

local function itemKey(id) return P .. 'item:' .. id end
local function treeKey(kind, path) return P .. kind .. E .. ':' .. path end
local function below(path, name)
  if path == '' then return name end
  return path .. '.' .. name
end

-- The head of an item's value, whole; an empty text for another program's value.
local function head(key)
  local v = attempt('GETRANGE', key, 0, ${headBytes - 1})
  if type(v) ~= 'string' then return '' end
  if #v < ${headBytes} then return v end
  local kind, state = string.byte(v, 5, 6)
  if kind < 4 and state == 0 then return v end
  return redis.call('GETRANGE', key, 0, ${headBytes - 1} + (kind < 4 and 0 or ${traceBytes}) + state)
end

-- Whether the tree of this epoch counts the item with this head.
local function inTree(head) return string.sub(head, 7, 10) == MARK end
`

const named = (source: string): LuaScript => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})

/** A script that leaves the tree alone. */
export const plainScript = (source: string): LuaScript => named(base + source)

/** A script that asks for the tree's epoch, or reads the tree. */
export const treeScript = (source: string): LuaScript => named(base + tree + source)
