import { describeNewSeeds, describeReplay } from "./Seeds.js"

describeReplay(() => describeNewSeeds(250))
