/**
 * Whether this server still has a sprite's disk in the bucket that no agent serves at the moment. If it has,
 * the next agent need not ask the bucket, which may be away.
 */
export class DiskTenure {
  readonly #serverTenure: () => number | null;
  /** The server's own, when an agent had taken the disk in the bucket; null when that is not known. */
  #takenUnder: number | null = null;
  #startedUnder: number | null = null;
  #isStopAsked = false;
  #isReleased = true;

  /** Given how long others have had to leave this server's disks alone (`ServerLease.tenure`). */
  constructor(serverTenure: () => number | null) {
    this.#serverTenure = serverTenure;
  }

  /** True unless an agent has ended that may have left something to be stored, or the disk taken. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** To be asked when an agent starts. */
  isStillOurs(): boolean {
    this.#startedUnder = this.#serverTenure();
    return this.#takenUnder !== null && this.#takenUnder === this.#startedUnder;
  }

  /** An agent serves, and had the bucket's word for it. */
  onOpened(): void {
    // Others could have taken it in between, if the server's lease has not gone on.
    this.#takenUnder = this.#serverTenure() === this.#startedUnder ? this.#startedUnder : null;
  }

  onStopAsked(): void {
    this.#isStopAsked = true;
  }

  /** An agent has ended; `isExplained`: it said itself why not everything is stored. */
  onAgentEnded({ isStored, isExplained }: { isStored: boolean; isExplained: boolean }): void {
    this.#isReleased = isStored;
    // One that was killed while it stopped may have let go just before.
    if (isStored || (this.#isStopAsked && !isExplained)) this.#takenUnder = null;
    this.#isStopAsked = false;
  }
}
