import { describeReplay, describeSeeds } from "./Seeds.js"

describeReplay(() => describeSeeds(501, 750))
