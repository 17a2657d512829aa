import type { SecureContext } from "node:tls";

/** Where the TLS port's certificates come from. */
export interface CertificateSource {
  /**
   * What the port shows to a client that asks for this name: lower case, without a final dot, not checked further. Null
   * when there is none for it, which ends the handshake. Called once per connection, so it keeps what it has made.
   */
  contextFor(serverName: string): Promise<SecureContext | null>;
}
