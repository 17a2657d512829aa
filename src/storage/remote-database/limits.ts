/** LTX files up to this size are fetched whole: one request, and the checksum can be verified at once. */
export const wholeFileSizeBytesMax = 256 * 1024;

/** First part of a larger file, fetched for its header; the database's first pages come along. */
export const headPartSizeBytes = 32 * 1024;

/** Last part of a larger file, fetched for its page index: at least this, and this share of the file. */
export const tailPartSizeBytesMin = 32 * 1024;
export const tailPartShare = 1 / 128;

/** Files whose ends are fetched at the same time when a database is opened. */
export const openingFilesCountMax = 32;

/** A page is fetched together with the frames behind it in the file, up to this size. */
export const readAheadSizeBytes = 64 * 1024;

/** Pages that were fetched one by one are kept up to this size, until hydration makes them needless. */
export const pageCacheSizeBytesMax = 8 * 1024 * 1024;

/** What hydration asks for at once, and how many such requests it keeps going. */
export const hydrationPartSizeBytes = 1024 * 1024;
export const hydrationRequestsCountMax = 8;
/** The same while somebody waits for a page, who is to have the connection. */
export const hydrationRequestsCountBusy = 4;

/** After decoding so much, about a millisecond's worth, hydration lets others have the thread. */
export const hydrationTurnSizeBytes = 128 * 1024;

/** Hydrated pages that lie side by side are written together, up to this size. */
export const hydrationWriteSizeBytes = 512 * 1024;

/** No B-tree is deeper: with the smallest pages, 4 billion of them make fewer levels. */
export const treeDepthMax = 40;

/** A row that claims to be larger than this is damaged; SQLite's own limit is as high by default. */
export const rowSizeBytesMax = 1_000_000_000;
