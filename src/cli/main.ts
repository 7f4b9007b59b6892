#!/usr/bin/env node
/** The bin: catches signals first, because loading everything else takes long enough for one to come. */
import { catchSignals } from "./app/EarlySignals.js"

catchSignals()
const { main } = await import("./app/Process.js")
main()
