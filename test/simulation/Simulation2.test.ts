import { describeSeeds } from "./Seeds.js"

describeSeeds(251, 500)
