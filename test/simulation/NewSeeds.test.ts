import { describeNewSeeds } from "./Seeds.js"

describeNewSeeds(250)
