import { describeReplay, describeSeeds } from "./Seeds.js"

describeReplay(() => describeSeeds(251, 500))
