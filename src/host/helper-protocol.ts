/**
 * What the host helper can do, as messages: one JSON object a line, requests on its standard input
 * and one reply for each on its standard output. The helper's `thaw` overtakes; everything else
 * happens in the order asked.
 */

export type HelperOperation =
  | {
      type: "mount";
      source: string;
      target: string;
      fileSystem: string;
      flags: readonly MountFlag[];
      data?: string;
    }
  | { type: "set_propagation"; target: string; propagation: "private" | "shared" | "slave" }
  | { type: "bind"; source: string; target: string; flags: readonly MountFlag[] }
  | { type: "unmount"; target: string; lazy?: boolean }
  | { type: "idmap_mount"; source: string; target: string; hostIdBase: number }
  | {
      type: "overlay_mount";
      target: string;
      /** Top first. */
      lowerDirectories: readonly string[];
      /** Without it the mount is read-only. */
      writable?: { upperDirectory: string; workDirectory: string };
      flags: readonly MountFlag[];
      /** Owner of what overlayfs itself creates: the host id that stands for the guest's root. */
      fileSystemUserId: number;
    }
  | { type: "loop_attach"; backingFile: string; readOnly: boolean; directIo: boolean }
  | { type: "loop_release"; device: string }
  | { type: "freeze"; directory: string; timeMsMax: number }
  | { type: "thaw"; directory: string }
  | { type: "sync_file_system"; directory: string }
  | { type: "make_directory"; path: string; mode: number; userId: number; groupId: number }
  | {
      /**
       * Makes each name below `root` an ordinary directory; a file or link in its place is removed,
       * never followed.
       */
      type: "ensure_directories";
      root: string;
      names: readonly string[];
      fileSystemUserId: number;
    }
  | { type: "make_fifos"; paths: readonly string[]; mode: number; userId: number; groupId: number }
  | {
      type: "make_network_namespace";
      path: string;
      sysctls: ReadonlyArray<readonly [string, string]>;
    };

export type MountFlag = "read_only" | "no_suid" | "no_device" | "no_execute" | "no_access_time";

export interface HelperRequest {
  id: number;
  operation: HelperOperation;
}

export type HelperReply =
  | { id: number; ok: true; value: HelperValue }
  | { id: number; ok: false; call: string; errno: string | null; message: string };

/** Most operations answer null; `loop_attach` answers with the device's path. */
export type HelperValue = string | null;
