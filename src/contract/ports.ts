/** Ports that open and close inside a sprite (contract.md sections 3.4 and 9.2). */

export interface PortNotice {
  type: "port_opened" | "port_closed";
  port: number;
  /** As it is listened on, and as a tunnel may be asked for it. */
  address: string;
  /** As the sprite counts; 0 when it could not be seen whose the port is. */
  pid: number;
}

export type OpenPort = Omit<PortNotice, "type">;

export function portNotice(type: PortNotice["type"], open: OpenPort): PortNotice {
  const { port, address, pid } = open;
  return { type, port, address, pid };
}

export function encodePortList(open: readonly OpenPort[]): string {
  return JSON.stringify({
    type: "port_list",
    ports: open.map((port) => portNotice("port_opened", port)),
  });
}
