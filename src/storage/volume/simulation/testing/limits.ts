/** The sizes of simulated worlds: small, so that many of them fit into a minute. */

/** Of a disk: each time that all of it is read or overwritten this is what it costs. */
export const unitCounts = [3, 3, 4, 8] as const;
export const syncIntervalMs = 1_000;
/** How long the past is kept, instead of a quarter of an hour. */
export const retentionMs = 15_000;
/** Longer than garbage takes to be found and deleted after that. */
export const forgetMs = 3 * retentionMs;
/** In which everything that is garbage goes, also what is stored again to get rid of half empty segments. */
export const whilesMax = 4;
export const openTriesMax = 60;
export const readTriesMax = 200;
/** In memory, for the files of some worlds at the same time. */
export const freeBytesMin = 512 * 2 ** 20;
