/** A client's half of one request, of either version of HTTP. */
export interface Downstream {
  /** The client is gone, or has been told everything. */
  readonly isClosed: boolean;
  /** Once. Header names are in lower case. `bodyless`: the response has none, whatever its headers say. */
  respond(status: number, headers: readonly string[], options: { bodyless: boolean }): void;
  /** To a client that waits with its body until it is wanted. */
  sendContinue(): void;
  /** False: wait for `onDrain`. */
  write(bytes: Buffer): boolean;
  end(trailers: readonly string[]): void;
  /** Breaks the response off so that the client sees that it is not whole. */
  abort(): void;
  /** The request's body. Called once. */
  readBody(listener: { onBytes(bytes: Buffer): void; onEnd(): void }): void;
  setReading(reads: boolean): void;
  onDrain(listener: () => void): void;
  /** Called once, however it ends. */
  onClose(listener: () => void): void;
}
