import {
  type DownloadStrategy,
  DownloadStrategyQuerySchema,
  DownloadStrategySchema,
  MAX_URL_SECONDS,
  UploadStrategyRequestSchema,
  UploadStrategySchema,
} from '@insforge/contract/storage.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type LinkSigner, objectPath } from '../links.ts';
import { UNKNOWN_TYPE } from '../media-types.ts';
import { headObject } from '../objects.ts';
import { planUpload } from '../presigned.ts';
import { contentDisposition, nameOf, present } from '../serving.ts';
import type { Storage } from '../storage.ts';
import { toStoredFile } from '../stored-file.ts';
import { actorOf, keyOf } from './request.ts';

const BUCKET = '/api/storage/buckets/:bucket';
const BucketParamsSchema = z.object({ bucket: z.string() });
/** How long a link to a private object works, where nothing is said. */
const PRIVATE_SECONDS = 3600;

export interface StrategyOptions {
  storage: Storage;
  links: LinkSigner;
  originOf: (request: FastifyRequest) => string;
}

/** How an upload is to be done. */
export const uploadStrategyRoutes: FastifyPluginAsyncZod<StrategyOptions> = async (app, { storage, originOf }) => {
  app.post(
    `${BUCKET}/upload-strategy`,
    {
      schema: {
        params: BucketParamsSchema,
        body: UploadStrategyRequestSchema,
        response: { 200: UploadStrategySchema },
      },
    },
    async (request) => {
      const { bucket } = request.params;
      const { filename: key, contentType: mimeType, size: announcedSize } = request.body;
      const { presigned } = await planUpload(storage, actorOf(request), { bucket, key, mimeType, announcedSize });
      const path = objectPath(bucket, key);
      if (!presigned) {
        return { method: 'direct' as const, uploadUrl: `${originOf(request)}${path}`, key, confirmRequired: false };
      }
      const { url: uploadUrl, fields, uploadId, expiresAt } = presigned;
      return {
        method: 'presigned' as const,
        uploadUrl,
        fields,
        key,
        confirmRequired: true,
        confirmUrl: `${path}/confirm-upload?upload=${uploadId}`,
        expiresAt: expiresAt.toISOString(),
      };
    },
  );
};

/** How a download is to be done. To be registered where the reader's guard runs. */
export const downloadStrategyRoutes: FastifyPluginAsyncZod<StrategyOptions> = async (app, options) => {
  app.get(
    `${BUCKET}/download-strategy/objects/*`,
    {
      schema: {
        params: BucketParamsSchema,
        querystring: DownloadStrategyQuerySchema,
        response: { 200: DownloadStrategySchema },
      },
    },
    (request) => planDownload(options, request, keyOf(request), request.query.expiresIn),
  );
};

/** A URL for the reader of the request, that others can use as long as it lives. */
export async function planDownload(
  { storage, links, originOf }: StrategyOptions,
  request: FastifyRequest,
  key: string,
  expiresIn: number | undefined,
): Promise<DownloadStrategy> {
  const { bucket, actor } = request.reader;
  const object = await headObject(storage, actor, bucket.name, key);
  const expiresInSeconds = expiresIn ?? (bucket.isPublic ? MAX_URL_SECONDS : PRIVATE_SECONDS);
  const expiresAt = new Date(Date.now() + expiresInSeconds * 1000);
  const { presign } = storage.blobs;
  if (presign && object.blob !== null) {
    const version = { mimeType: object.mimeType ?? UNKNOWN_TYPE, detectedType: object.detectedType };
    const { contentType, disposition } = present(version, bucket.inlineActiveContent);
    const url = await presign.download(object.blob, {
      contentType,
      disposition: contentDisposition(disposition, nameOf(object)),
      cacheControl: `private, max-age=${expiresInSeconds}`,
      expiresInSeconds,
    });
    return { method: 'presigned', url, expiresAt: expiresAt.toISOString() };
  }
  const { url } = toStoredFile(originOf(request), object);
  if (bucket.isPublic) return { method: 'direct', url };
  const link = `${url}${url.includes('?') ? '&' : '?'}${links.sign(bucket.name, key, expiresAt)}`;
  return { method: 'presigned', url: link, expiresAt: expiresAt.toISOString() };
}
