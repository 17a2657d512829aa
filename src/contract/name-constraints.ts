/**
 * The extension of a certificate authority that limits it to one domain (RFC 5280, section
 * 4.2.1.10), by hand: the server writes it, and the client looks for it before it trusts anybody.
 */

export const nameConstraintsOid = "2.5.29.30";

/** The same identifier as it stands in a certificate. */
const oidBytes = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x1e);
const isCritical = Uint8Array.of(0x01, 0x01, 0xff);

const sequence = 0x30;
const octets = 0x04;
const permitted = 0xa0;
const excluded = 0xa1;
const dnsName = 0x82;
const ipAddress = 0x87;

/** Of a domain whose extension has a length of one byte each. */
export const constrainedDomainLengthMax = 70;

/** The extension's value: names in and below the domain, and no address at all. */
export function encodeNameConstraints(domain: string): Uint8Array {
  const bytes = new TextEncoder().encode(domain);
  if (bytes.length > constrainedDomainLengthMax) throw new Error("the domain is too long");
  const everyIpv4 = element(sequence, element(ipAddress, new Uint8Array(8)));
  const everyIpv6 = element(sequence, element(ipAddress, new Uint8Array(32)));
  return element(
    sequence,
    element(permitted, element(sequence, element(dnsName, bytes))),
    element(excluded, everyIpv4, everyIpv6),
  );
}

/**
 * The domain to which the certificate is limited, in the form that `encodeNameConstraints` gives it.
 * Null: it is limited in no way that we know, so it may speak for anybody.
 * @param certificate DER
 */
export function constrainedDomain(certificate: Uint8Array): string | null {
  const start = indexOf(certificate, Uint8Array.of(...oidBytes, ...isCritical, octets));
  if (start < 0) return null;
  const value = certificate.subarray(start + oidBytes.length + isCritical.length + 2);
  // Each level has one byte of tag and one of length before the name.
  const lengthAt = 7;
  const length = value[lengthAt] ?? 0;
  const domain = new TextDecoder().decode(value.subarray(lengthAt + 1, lengthAt + 1 + length));
  if (!/^[a-z0-9.-]{1,70}$/.test(domain)) return null;
  const expected = encodeNameConstraints(domain);
  return indexOf(value, expected) === 0 ? domain : null;
}

function element(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > 127) throw new Error("the extension is too long");
  return Uint8Array.of(tag, length, ...parts.flatMap((part) => [...part]));
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let start = 0; start + wanted.length <= bytes.length; start += 1) {
    if (wanted.every((byte, index) => bytes[start + index] === byte)) return start;
  }
  return -1;
}
