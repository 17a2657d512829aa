/** The times and thresholds of sleep. */

/** How often is looked whether anything goes on: so often in the window, and at least and at most. */
export const looksInWindow = 6;
export const lookMsMin = 250;
export const lookMsMax = 5_000;
/** A sprite that cannot be put to sleep is tried again so much later. */
export const napRetryMs = 10_000;
/** A sprite that nobody has yet is suspended when two looks so far from each other find that nothing goes on. */
export const standByLookMs = 250;
/** Work that counts, on average between two looks: share of one core, bytes a second sent, bytes a second of the disk. */
export const processorShareMin = 0.02;
export const sentRateMin = 4_096;
export const diskRateMin = 65_536;
/** Bytes of a name that are shown. */
export const nameCharactersMax = 120;
/** Bytes between two looks that make a connection's traffic more than the pings that keep it open. */
export const connectionBytesMin = 64;
/** Of what holds a sprite awake so many are shown. */
export const shownItemsMax = 64;
/** A terminal is said to be busy so long after its last word. */
export const terminalShownMs = 1_000;
/** A request that the front door has let in arrives within this. */
export const retireMs = 50;
/** Who puts a sprite to sleep waits so long for the requests under way, and so long when it is forced; and how often is looked. */
export const sleepWaitMsMax = 10_000;
export const forcedSleepWaitMsMax = 1_000;
export const sleepLookMs = 50;
/** Of two looks closer to each other the second finds what the first found: nearly no time cannot be divided by. */
export const looksApartMs = 200;
/** How long a file or a comparison that is being read keeps a suspended sprite from being ended. */
export const diskHoldMsMax = 600_000;
