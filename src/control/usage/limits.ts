/** How long usage is known by the hour; after that, by the day. Then it is forgotten. */
export const hourlyAgeMsMax = 35 * 86_400_000;
export const usageAgeMsMax = 400 * 86_400_000;
/** Meters of one sprite that are known: one for each machine it ran on, and for each that lost its file. */
export const metersPerSpriteMax = 32;
/**
 * Between two writes of what is used into the registry, which each cost a request to the bucket. What a server that is killed had
 * not written, the files of its agents tell the next one.
 */
export const usageFlushMs = 300_000;
/** The same after a sprite has fallen asleep or ended: several that do so together are written together. */
export const usageSettleMs = 2_000;
export const usageTidyMs = 3_600_000;
/** Questions about one organization's usage that wait, and how many times as long as an answer took nobody is answered after it. */
export const usageQuestionsMax = 16;
export const usageRestFactor = 3;
