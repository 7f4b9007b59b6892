import { describeSeeds } from "./Seeds.js"

describeSeeds(751, 1000)
