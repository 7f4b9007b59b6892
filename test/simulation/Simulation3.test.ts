import { describeSeeds } from "./Seeds.js"

describeSeeds(501, 750)
