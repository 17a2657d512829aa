/** The times and sizes of audits. */
import { retentionMsDefault } from "../volume/limits.ts";

/** What nobody names is kept as long as states of the past can be restored that may name it. */
export const graceMsMin = retentionMsDefault;

/**
 * A volume without a head is a fork or an import that goes on or has died, and one that no registry names may be of
 * a registry that is not replicated at the moment: neither is given up before it lies still for so long.
 */
export const abandonedAgeMsMin = 24 * 60 * 60_000;
/** How often a volume's map is read anew, since the volume's writer has merged files of the chain meanwhile. */
export const mapReadTriesMax = 5;
/** Keys named in one report: of more only the number is told. */
export const keysNamedMax = 1_000;
/** Objects that one request deletes. */
export const deletedAtOnceMax = 1_000;
/** What one run deletes unless told otherwise; the next goes on. */
export const deletedBytesMaxDefault = 1024 ** 4;

/** Segments of which a scrubber collects the slices in one walk through the map. */
export const scrubbedSegmentsAtOnce = 64;
/** Places named for one damaged object: of more only the first are told. */
export const placesNamedMax = 16;
/** Damages that are kept; a bucket with more has other troubles than a list that ends. */
export const damagesMax = 1_000;
/** A segment is deleted long after the map has stopped naming it, so a map this young says what must be there. */
export const mapAgeMsMax = 5 * 60_000;
/** How often the position is kept, which is what a killed scrubber reads again. */
export const positionIntervalMs = 10_000;

/** The server's scrubber leaves a start alone, and waits after a failure and between the starts of two passes. */
export const scrubStartDelayMs = 10 * 60_000;
export const scrubRetryMs = 5 * 60_000;
export const scrubPassIntervalMs = 7 * 24 * 60 * 60_000;
/** For its thread to end when the server stops. */
export const scrubStopMs = 1_000;
