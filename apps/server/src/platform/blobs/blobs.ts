import type { Readable } from 'node:stream';

/**
 * A store of immutable bytes under random names. Nothing that a user types becomes part of a name, and bytes
 * never change under one: whoever wants other bytes writes another blob and lets a database row point at it.
 * A blob that no row points at is garbage, so a crash can leave garbage behind but never a row whose bytes are
 * missing, cut or of another version.
 */
export interface Blobs {
  readonly driver: 'local' | 's3';
  /** Blobs of so many bytes and less come with their bytes when they are staged. */
  readonly smallBytes: number;
  /**
   * Receives bytes under a temporary name. Nothing is visible before `commit`, and nothing is left when this
   * throws or `discard` is called.
   * @throws BlobTooLarge as soon as more than `maxBytes` have arrived; AppError STORAGE_INSUFFICIENT_QUOTA (507) when the store is
   * full; whatever the source throws
   */
  stage(source: AsyncIterable<Uint8Array>, options: StageOptions): Promise<StagedBlob>;
  /**
   * The bytes of a blob, or of a part of it. Small ones come as a Buffer, since a stream costs more than they do.
   * @throws BlobMissing
   */
  open(id: string, range?: ByteRange): Promise<Buffer | Readable>;
  /** Undefined where there is no blob of this name. `modifiedAt` is in milliseconds since the epoch. */
  stat(id: string): Promise<{ size: number; modifiedAt: number } | undefined>;
  /** Makes an independent blob of the same bytes, without moving them through this process where possible. */
  copy(id: string): Promise<string>;
  /** Makes one blob of several, in the order given. It is committed. */
  concat(ids: readonly string[]): Promise<string>;
  /** Deletes; a blob that is gone already is no error. */
  delete(ids: readonly string[]): Promise<void>;
  /** The names of all committed blobs in pages, for comparing with the rows that point at them. */
  list(): AsyncIterable<string[]>;
  /** True where whoever wrote the blob is known to be gone: if no row names it by now, none ever will. */
  isLeftBehind(id: string): boolean;
  /** Lets clients exchange bytes with the store itself. Absent where all bytes go through this server. */
  readonly presign?: Presigner;
  close(): Promise<void>;
}

export interface StageOptions {
  maxBytes: number;
  /** Hex digests to compute besides md5, such as `sha256`. */
  hashes?: readonly string[];
}

/** Bytes received in full, not yet visible. */
export interface StagedBlob {
  readonly id: string;
  readonly size: number;
  /** Hex digests by algorithm; `md5` always. */
  readonly digests: Readonly<Record<string, string>>;
  /** The first bytes, at most HEAD_BYTES, to tell what they are. */
  readonly head: Uint8Array;
  /** All bytes, where they are few and a row may as well keep them instead of this store. */
  readonly bytes?: Uint8Array;
  /** Makes the blob durable and visible. */
  commit(): Promise<void>;
  /** Takes it back, committed or not. */
  discard(): Promise<void>;
}

/** Both ends included, as in HTTP. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface Presigner {
  /** A form that a client posts the bytes of a new blob with. The store refuses more than `maxBytes`. */
  upload(options: { maxBytes: number; contentType: string; expiresInSeconds: number }): Promise<{
    id: string;
    url: string;
    fields: Record<string, string>;
  }>;
  /** An URL that serves the blob with these headers. */
  download(
    id: string,
    options: { contentType: string; disposition: string; cacheControl: string; expiresInSeconds: number },
  ): Promise<string>;
  /** Size and MD5 of a blob that a client uploaded; undefined where there is none. */
  inspect(id: string): Promise<{ size: number; etag: string } | undefined>;
}

/** What telling the type of a file needs to see of it. */
export const HEAD_BYTES = 4100;

/** More bytes arrived than allowed. */
export class BlobTooLarge extends Error {
  readonly maxBytes: number;
  constructor(maxBytes: number) {
    super(`more than ${maxBytes} bytes`);
    this.maxBytes = maxBytes;
  }
}

/** There is no blob of this name, for instance because it was replaced a moment ago. */
export class BlobMissing extends Error {}
