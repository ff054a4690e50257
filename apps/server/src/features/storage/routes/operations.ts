import {
  ConfirmUploadSchema,
  DownloadStrategyRequestSchema,
  DownloadStrategySchema,
  RelocateObjectSchema,
  StoredFileSchema,
} from '@insforge/contract/storage.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AppError } from '#platform/errors.ts';
import type { Guards } from '#platform/http/caller.ts';
import { confirmUpload } from '../presigned.ts';
import { copyObject, moveObject } from '../relocation.ts';
import { toStoredFile } from '../stored-file.ts';
import type { ReaderGuard } from './reader.ts';
import { actorOf, keyOf } from './request.ts';
import { planDownload, type StrategyOptions } from './strategies.ts';

interface OperationOptions extends StrategyOptions {
  guards: Guards;
  guardReader: ReaderGuard;
}

/** What a POST to an object's path does, told by the last segment. A key may end in any of these words too. */
interface Operation {
  /** Everybody else needs a credential. */
  isReading?: boolean;
  run(options: OperationOptions, request: FastifyRequest, key: string): Promise<unknown>;
}

const relocate =
  (work: typeof copyObject | typeof moveObject): Operation['run'] =>
  async ({ storage, originOf }, request, key) => {
    const { to, toBucket, overwrite } = parseBody(RelocateObjectSchema, request);
    const { bucket } = request.params as { bucket: string };
    const object = await work(storage, actorOf(request), {
      from: { bucket, key },
      to: { bucket: toBucket ?? bucket, key: to },
      expected: overwrite ? undefined : 'nothing',
    });
    return StoredFileSchema.parse(toStoredFile(originOf(request), object));
  };

const OPERATIONS: Readonly<Record<string, Operation>> = {
  copy: { run: relocate(copyObject) },
  move: { run: relocate(moveObject) },
  'confirm-upload': {
    async run({ storage, originOf }, request, key) {
      const { size } = parseBody(ConfirmUploadSchema, request);
      const { bucket } = request.params as { bucket: string };
      const { upload: uploadId } = request.query as { upload?: string };
      const object = await confirmUpload(storage, actorOf(request), { bucket, key, uploadId, size });
      return StoredFileSchema.parse(toStoredFile(originOf(request), object));
    },
  },
  'download-strategy': {
    isReading: true,
    async run(options, request, key) {
      const expiresIn = parseBody(DownloadStrategyRequestSchema, request)?.expiresIn;
      return DownloadStrategySchema.parse(await planDownload(options, request, key, expiresIn));
    },
  },
};

/** The operations on one object. The router cannot tell them apart, since keys have slashes. */
export const operationRoutes: FastifyPluginAsyncZod<OperationOptions> = async (app, options) => {
  const { guards, guardReader } = options;

  app.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    const { operation } = operationOf(request);
    if (operation.isReading) await guardReader(request, reply);
    else await guards.requireUser.call(app, request, reply);
  });

  app.post(
    '/api/storage/buckets/:bucket/objects/*',
    {
      schema: {
        params: z.object({ bucket: z.string() }),
        querystring: z.object({ upload: z.string().optional() }),
      },
    },
    async (request) => {
      const { name, operation } = operationOf(request);
      return operation.run(options, request, keyOf(request, name));
    },
  );
};

function operationOf(request: FastifyRequest): { name: string; operation: Operation } {
  const [path = ''] = (request.raw.url ?? '').split('?', 1);
  const name = path.slice(path.lastIndexOf('/') + 1);
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (operation) return { name, operation };
  throw new AppError('NOT_FOUND', `There is no operation ${JSON.stringify(name)} on objects`, {
    nextActions: `POST …/objects/{key}/{operation} with one of ${Object.keys(OPERATIONS).join(', ')}; upload with PUT …/objects/{key}.`,
  });
}

function parseBody<Schema extends z.ZodType>(schema: Schema, request: FastifyRequest): z.output<Schema> {
  const parsed = schema.safeParse(request.body);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`);
  throw new AppError('STORAGE_INVALID_PARAMETER', issues.join(', '));
}
