/** placeholder until Metrics lands */
export const flushed = (_reason: string, _count: number, _ms: number): void => {}
export const flushFailed = (): void => {}
export const deadLettered = (_n: number): void => {}
export const superseded = (_n: number): void => {}
export const dutyFailed = (_name: string): void => {}
export const watchdogAlert = (): void => {}
