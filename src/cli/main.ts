#!/usr/bin/env node
/**
 * The bin: catches signals first, because loading everything else takes long enough for one to come.
 *
 * @since 0.1.0
 */
import { catchSignals } from "./EarlySignals.js"

catchSignals()
const { main } = await import("./Process.js")
main()
