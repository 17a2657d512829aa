/** The IPv4 addresses of a server's sprites and of its way out. Pure. */
import { assert } from "../base/assert.ts";

export interface AddressRange {
  /** First address, as a number. */
  base: number;
  prefixLength: number;
}

/**
 * Only seen behind the gateway, which translates; a network of the same addresses elsewhere is just
 * not reachable from inside.
 */
export const defaultGuestRange = "10.209.0.0/16";

/**
 * The link between gateway and machine is the only address that the machine itself sees: four
 * addresses for each server.
 */
export const defaultLinkRange = "10.210.0.0/16";
export const linkPrefixLength = 30;

/** The first addresses of the range: the gateway's, and room for services of ours. */
const guestOffset = 256;

/** @throws Error for anything but a private-looking `a.b.c.d/n` with n from 8 to 22 */
export function parseRange(text: string): AddressRange {
  const [address = "", length = ""] = text.split("/");
  const prefixLength = Number(length);
  const base = parseAddress(address);
  const isAligned = base !== null && base % 2 ** (32 - prefixLength) === 0;
  if (!isAligned || !Number.isInteger(prefixLength) || prefixLength < 8 || prefixLength > 22) {
    throw new Error(`not an address range like ${defaultGuestRange}: ${text}`);
  }
  return { base, prefixLength };
}

export function formatRange(range: AddressRange): string {
  return `${formatAddress(range.base)}/${range.prefixLength}`;
}

export function gatewayAddress(range: AddressRange): string {
  return formatAddress(range.base + 1);
}

/** How many sprites the range can address. */
export function guestCountMax(range: AddressRange): number {
  return 2 ** (32 - range.prefixLength) - guestOffset - 1;
}

export function guestAddress(range: AddressRange, index: number): string {
  assert(index >= 0 && index < guestCountMax(range), "a sprite's index is within the range");
  return formatAddress(range.base + guestOffset + index);
}

export interface LinkAddresses {
  machine: string;
  gateway: string;
}

/** The addresses of one link, wrapped around the range. */
export function linkAddresses(range: AddressRange, index: number): LinkAddresses {
  const count = 2 ** (linkPrefixLength - range.prefixLength);
  const base = range.base + (index % count) * 2 ** (32 - linkPrefixLength);
  return { machine: formatAddress(base + 1), gateway: formatAddress(base + 2) };
}

/** Null when the text is no IPv4 address. */
export function parseAddress(text: string): number | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return null;
  let value = 0;
  for (const part of match.slice(1)) {
    const byte = Number(part);
    if (byte > 255) return null;
    value = value * 256 + byte;
  }
  return value;
}

function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}
