import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import multipart, { type MultipartFile } from '@fastify/multipart';
import { StoredFileSchema } from '@insforge/contract/storage.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AppError } from '#platform/errors.ts';
import { bytesOf, stalled } from '../bytes.ts';
import { readExpected } from '../expectations.ts';
import { putObject } from '../objects.ts';
import type { Storage } from '../storage.ts';
import { toStoredFile } from '../stored-file.ts';
import { acceptFiles, actorOf, keyOf } from './request.ts';

const OBJECTS = '/api/storage/buckets/:bucket/objects';
const BucketParamsSchema = z.object({ bucket: z.string() });
/** What a form needs around its file. */
const FORM_BYTES = 64 * 1024;

interface UploadOptions {
  storage: Storage;
  originOf: (request: FastifyRequest) => string;
  idleMs: number;
}

/** Files in one request, as a form with one file or as the bytes themselves. */
export const uploadRoutes: FastifyPluginAsyncZod<UploadOptions> = async (app, { storage, originOf, idleMs }) => {
  acceptFiles(app);
  await app.register(multipart, { limits: { files: 1, fields: 20, fileSize: Number.POSITIVE_INFINITY } });

  const store = async (request: FastifyRequest, bucket: string, keyFor: (filename: string) => string) => {
    const file = await fileOf(request, idleMs);
    const object = await putObject(storage, actorOf(request), {
      bucket,
      key: keyFor(file.name),
      body: bytesOf(file.stream, idleMs),
      mimeType: file.mimeType,
      announcedSize: file.announcedSize,
      atMost: file.atMost,
      expected: readExpected(request.headers['if-match'], request.headers['if-none-match']),
    });
    return toStoredFile(originOf(request), object);
  };

  app.put(`${OBJECTS}/*`, { schema: { params: BucketParamsSchema, response: { 200: StoredFileSchema } } }, (request) =>
    store(request, request.params.bucket, () => keyOf(request)),
  );

  app.post(
    OBJECTS,
    { schema: { params: BucketParamsSchema, response: { 201: StoredFileSchema } } },
    async (request, reply) => reply.status(201).send(await store(request, request.params.bucket, generateKey)),
  );
};

interface ReceivedFile {
  name: string;
  mimeType: string | undefined;
  stream: Readable;
  announcedSize: number;
  atMost: number | undefined;
}

async function fileOf(request: FastifyRequest, idleMs: number): Promise<ReceivedFile> {
  const length = Number(request.headers['content-length'] ?? 0);
  const { expect, 'transfer-encoding': coding } = request.headers;
  // Who asks first wants to hear whether they may, and not only when they have sent it.
  const atMost = coding === undefined && expect === undefined ? length : undefined;
  if (!request.isMultipart()) {
    // Without a body there is no type either; an empty file is a file.
    const stream = (request.body as Readable | undefined) ?? request.raw;
    return { name: 'file', mimeType: request.headers['content-type'], stream, announcedSize: length, atMost };
  }
  const part = await fileIn(request, idleMs);
  if (!part) {
    throw new AppError('STORAGE_INVALID_PARAMETER', 'There is no file in the form', {
      nextActions:
        'Send it as the part "file" of multipart/form-data, or as the body itself with its own content type.',
    });
  }
  return {
    name: part.filename || 'file',
    mimeType: part.mimetype,
    stream: part.file,
    announcedSize: Math.max(0, length - FORM_BYTES),
    atMost,
  };
}

/** The file of a form, as long as what comes before it keeps coming. */
async function fileIn(request: FastifyRequest, idleMs: number): Promise<MultipartFile | undefined> {
  const { raw } = request;
  const found = request.file().catch(explainForm);
  // In-process requests have no connection.
  if (!('setTimeout' in raw.socket)) return found;
  const stalling = new Promise<never>((_resolve, reject) => raw.setTimeout(idleMs, () => reject(stalled(idleMs))));
  return Promise.race([found, stalling]).finally(() => raw.setTimeout(0));
}

/** What the parser says of a form that it cannot read has no status; what it says of limits has one. */
function explainForm(error: unknown): never {
  if (!(error instanceof Error) || 'statusCode' in error) throw error;
  throw new AppError('STORAGE_INVALID_PARAMETER', `The form cannot be read: ${error.message}`, { cause: error });
}

const MAX_NAME = 32;
const MAX_EXTENSION = 16;

/** `holiday-1737546841234-a3f2b1.jpg`, in the form that the clients make themselves. */
function generateKey(filename: string): string {
  const dot = filename.lastIndexOf('.');
  const base = dot > 0 ? filename.slice(0, dot) : filename;
  const extension = dot > 0 ? filename.slice(dot).replace(/[^a-zA-Z0-9.]/g, '') : '';
  const name = base.replace(/[^a-zA-Z0-9_-]/g, '-').slice(0, MAX_NAME) || 'file';
  return `${name}-${Date.now()}-${randomBytes(4).toString('hex')}${extension.slice(0, MAX_EXTENSION)}`;
}
