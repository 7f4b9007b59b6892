import { describeReplay, describeSeeds } from "./Seeds.js"

describeReplay(() => describeSeeds(751, 1000))
