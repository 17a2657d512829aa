/**
 * `unix-pipe PATH`: connects to the Unix socket PATH, sends it all of stdin, then copies all that it
 * answers to stdout. Exit code 0, 1 when a system call failed, 2 without a usable PATH.
 *
 * busybox has no client for Unix sockets, and in a wrecked sprite nothing else can be relied on. So
 * this is a program without libraries or files of any kind: 216 bytes of x86-64 machine code, written
 * out below beside its assembly, in an ELF file of one segment. Linux calls: read 0, write 1,
 * socket 41, connect 42, exit 60.
 */
const program: readonly (readonly [hex: string, assembly: string])[] = [
  ["48 8b 74 24 10", "start: mov rsi, [rsp+16]     ; argv[1]"],
  ["48 85 f6", "test rsi, rsi"],
  ["74 29", "jz usage"],
  ["48 81 ec 80 00 00 00", "sub rsp, 128             ; struct sockaddr_un, 110 bytes of it used"],
  ["66 c7 04 24 01 00", "mov word [rsp], 1        ; AF_UNIX"],
  ["48 8d 7c 24 02", "lea rdi, [rsp+2]"],
  ["b9 6b 00 00 00", "mov ecx, 107             ; longest path"],
  ["8a 06", "copy: mov al, [rsi]"],
  ["88 07", "mov [rdi], al"],
  ["48 ff c6", "inc rsi"],
  ["48 ff c7", "inc rdi"],
  ["84 c0", "test al, al"],
  ["74 0b", "jz open                  ; the path ends with its NUL"],
  ["ff c9", "dec ecx"],
  ["75 ee", "jnz copy"],
  ["bf 02 00 00 00", "usage: mov edi, 2"],
  ["eb 48", "jmp leave"],
  ["6a 29 58", "open: push 41; pop rax   ; socket(AF_UNIX, SOCK_STREAM, 0)"],
  ["6a 01 5f", "push 1; pop rdi"],
  ["6a 01 5e", "push 1; pop rsi"],
  ["31 d2", "xor edx, edx"],
  ["0f 05", "syscall"],
  ["85 c0", "test eax, eax"],
  ["78 3e", "js failed"],
  ["89 c3", "mov ebx, eax             ; the socket"],
  ["6a 2a 58", "push 42; pop rax         ; connect(socket, address, 110)"],
  ["89 df", "mov edi, ebx"],
  ["48 89 e6", "mov rsi, rsp"],
  ["6a 6e 5a", "push 110; pop rdx"],
  ["0f 05", "syscall"],
  ["85 c0", "test eax, eax"],
  ["78 2b", "js failed"],
  ["48 8d ac 24 80 ff fe ff", "lea rbp, [rsp-65664]     ; a buffer of 64 KiB on the stack"],
  ["48 89 ec", "mov rsp, rbp"],
  ["45 31 e4", "xor r12d, r12d           ; from stdin"],
  ["41 89 dd", "mov r13d, ebx            ; to the socket"],
  ["e8 1c 00 00 00", "call pump"],
  ["41 89 dc", "mov r12d, ebx            ; from the socket"],
  ["6a 01 41 5d", "push 1; pop r13          ; to stdout"],
  ["e8 10 00 00 00", "call pump"],
  ["31 ff", "xor edi, edi"],
  ["b8 3c 00 00 00", "leave: mov eax, 60       ; exit(edi)"],
  ["0f 05", "syscall"],
  ["bf 01 00 00 00", "failed: mov edi, 1"],
  ["eb f2", "jmp leave"],
  ["31 c0", "pump: xor eax, eax       ; read(r12, buffer, 65536)"],
  ["44 89 e7", "mov edi, r12d"],
  ["48 89 ee", "mov rsi, rbp"],
  ["ba 00 00 01 00", "mov edx, 65536"],
  ["0f 05", "syscall"],
  ["48 83 f8 fc", "cmp rax, -4              ; EINTR"],
  ["74 eb", "je pump"],
  ["48 85 c0", "test rax, rax"],
  ["78 df", "js failed"],
  ["74 2b", "jz done                  ; end of file"],
  ["49 89 c6", "mov r14, rax             ; bytes left"],
  ["49 89 ef", "mov r15, rbp             ; where they are"],
  ["b8 01 00 00 00", "again: mov eax, 1        ; write(r13, r15, r14)"],
  ["44 89 ef", "mov edi, r13d"],
  ["4c 89 fe", "mov rsi, r15"],
  ["4c 89 f2", "mov rdx, r14"],
  ["0f 05", "syscall"],
  ["48 83 f8 fc", "cmp rax, -4              ; EINTR"],
  ["74 ea", "je again"],
  ["48 85 c0", "test rax, rax"],
  ["78 bc", "js failed"],
  ["49 01 c7", "add r15, rax"],
  ["49 29 c6", "sub r14, rax"],
  ["75 dd", "jnz again"],
  ["eb b9", "jmp pump"],
  ["c3", "done: ret"],
];

const elfHeaderSizeBytes = 64;
const programHeaderSizeBytes = 56;
/** Where the file is mapped; any address above `vm.mmap_min_addr` does. */
const loadAddress = 0x400000n;

/** The executable: ELF header, one program header (read and execute), the code. */
export function unixPipeExecutable(): Uint8Array {
  const code = Buffer.from(program.map(([hex]) => hex.replaceAll(" ", "")).join(""), "hex");
  const headersSizeBytes = elfHeaderSizeBytes + programHeaderSizeBytes;
  const file = Buffer.alloc(headersSizeBytes + code.byteLength);
  writeElfHeader(file, loadAddress + BigInt(headersSizeBytes));
  writeProgramHeader(file, BigInt(file.byteLength));
  code.copy(file, headersSizeBytes);
  return file;
}

function writeElfHeader(file: Buffer, entryAddress: bigint): void {
  // Magic number, 64 bits, little-endian, version 1.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0);
  file.writeUInt16LE(2, 16); // Executable.
  file.writeUInt16LE(62, 18); // x86-64.
  file.writeUInt32LE(1, 20); // Version.
  file.writeBigUInt64LE(entryAddress, 24);
  file.writeBigUInt64LE(BigInt(elfHeaderSizeBytes), 32); // Where the program headers are.
  file.writeUInt16LE(elfHeaderSizeBytes, 52);
  file.writeUInt16LE(programHeaderSizeBytes, 54);
  file.writeUInt16LE(1, 56); // Number of program headers.
}

function writeProgramHeader(file: Buffer, sizeBytes: bigint): void {
  const at = elfHeaderSizeBytes;
  file.writeUInt32LE(1, at); // Load this segment.
  file.writeUInt32LE(5, at + 4); // Read and execute, never write.
  file.writeBigUInt64LE(0n, at + 8); // From the start of the file.
  file.writeBigUInt64LE(loadAddress, at + 16);
  file.writeBigUInt64LE(loadAddress, at + 24);
  file.writeBigUInt64LE(sizeBytes, at + 32);
  file.writeBigUInt64LE(sizeBytes, at + 40);
  file.writeBigUInt64LE(0x1000n, at + 48); // Alignment.
}
