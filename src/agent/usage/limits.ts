/** Between two looks at what a running sprite uses: its memory is taken as straight in between. */
export const usageIntervalMs = 10_000;
/** The same while it is suspended, when only the memory it holds could change. */
export const warmUsageIntervalMs = 60_000;
/** A disk that does not answer, since its bucket is away, must not hold up the rest of a report. */
export const diskAnswerMsMax = 2_000;
