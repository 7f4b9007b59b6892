// The floors of the house, from the ground up: a room imports its own files and those of lower floors. Rooms that
// share a floor do not know each other. Type-only imports count.
const floors = [
  ["shared"],
  ["SyncItem.ts", "EngineError.ts", "Lifecycle.ts"],
  ["Metrics.ts", "merkle", "memory"],
  ["config"],
  ["EngineConfig.ts"],
  ["wal", "archive", "cache"],
  ["filter"],
  ["reconcile"],
  ["SyncEngineModels.ts"],
  ["engine/state"],
  ["engine/cache"],
  ["engine/read"],
  ["engine/write", "engine/flush"],
  ["engine/background"],
  ["engine/query", "engine/startup", "engine/shutdown"],
  ["engine/AdminOperations.ts"],
  ["SyncEngineApi.ts"],
  ["engine/DefaultComponents.ts"],
  ["engine/Engine.ts"],
  ["SyncEngine.ts"],
  ["index.ts"],
  ["http"],
  ["cli"]
]

const pathOf = (room) => `^src/${room.replaceAll(".", "\\.")}${room.endsWith(".ts") ? "$" : "/"}`

const arrows = floors.flatMap((rooms, floor) =>
  rooms.map((room) => ({
    name: `${room} looks up`,
    severity: "error",
    from: { path: pathOf(room) },
    to: {
      path: "^src/",
      pathNot: [room, ...floors.slice(0, floor).flat()].map(pathOf)
    }
  }))
)

export default {
  forbidden: [
    { name: "circle", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    {
      name: "without a floor",
      severity: "error",
      from: { path: "^src/", pathNot: floors.flat().map(pathOf) },
      to: {}
    },
    ...arrows
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types"] }
  }
}
