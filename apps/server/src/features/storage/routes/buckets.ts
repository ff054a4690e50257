import {
  BucketListSchema,
  CreateBucketReplySchema,
  CreateBucketSchema,
  DeleteBucketQuerySchema,
  DeleteBucketReplySchema,
  UpdateBucketReplySchema,
  UpdateBucketSchema,
} from '@insforge/contract/storage.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import {
  type Bucket,
  type BucketContent,
  createBucket,
  deleteBucket,
  getBucket,
  listBuckets,
  measureBucket,
  updateBucket,
} from '../buckets.ts';
import { dropPresets } from '../policies.ts';
import type { Storage } from '../storage.ts';

const BUCKETS = '/api/storage/buckets';
const BucketParamsSchema = z.object({ bucket: z.string() });

const NEXT_ACTIONS =
  'Upload with PUT /api/storage/buckets/{bucket}/objects/{key}. End users reach nothing before a policy allows it: PUT /api/storage/buckets/{bucket}/policies {"preset":"owner-only"}.';

/** Buckets, for the admin. */
export const bucketRoutes: FastifyPluginAsyncZod<{ storage: Storage }> = async (app, { storage }) => {
  const { db, buckets, collectGarbage } = storage;

  app.get(BUCKETS, { schema: { response: { 200: BucketListSchema } } }, async () =>
    (await listBuckets(db.system)).map(toReply),
  );

  app.post(
    BUCKETS,
    { schema: { body: CreateBucketSchema, response: { 201: CreateBucketReplySchema } } },
    async (request, reply) => {
      const { bucketName, ...settings } = request.body;
      const { isPublic } = await db.system.tx(async (tx) => {
        const bucket = await createBucket(tx, bucketName, settings);
        await audit(tx, request, { action: 'CREATE_BUCKET', module: 'STORAGE', details: { bucketName, ...settings } });
        return bucket;
      });
      buckets.forget();
      return reply
        .status(201)
        .send({ message: 'Bucket created successfully', bucketName, isPublic, nextActions: NEXT_ACTIONS });
    },
  );

  app.patch(
    `${BUCKETS}/:bucket`,
    { schema: { params: BucketParamsSchema, body: UpdateBucketSchema, response: { 200: UpdateBucketReplySchema } } },
    async (request) => {
      const bucket = await db.system.tx(async (tx) => {
        const details = { bucketName: request.params.bucket, ...request.body };
        await audit(tx, request, { action: 'UPDATE_BUCKET', module: 'STORAGE', details });
        return updateBucket(tx, request.params.bucket, request.body);
      });
      buckets.forget();
      const { name, public: isPublic, createdAt, ...settings } = toReply(bucket);
      return { message: 'Bucket updated', bucket: name, isPublic, ...settings };
    },
  );

  app.delete(
    `${BUCKETS}/:bucket`,
    {
      schema: {
        params: BucketParamsSchema,
        querystring: DeleteBucketQuerySchema,
        response: { 200: DeleteBucketReplySchema },
      },
    },
    async (request) => {
      const { bucket: name } = request.params;
      const { dryRun } = request.query;
      const content = await db.system.tx(async (tx) => {
        await getBucket(tx, name);
        const measured = await measureBucket(tx, name);
        if (dryRun) return measured;
        await deleteBucket(tx, name);
        await dropPresets(tx, name);
        const details = { bucketName: name, ...measured };
        await audit(tx, request, { action: 'DELETE_BUCKET', module: 'STORAGE', details });
        return measured;
      });
      buckets.forget();
      collectGarbage();
      return { message: describeDeletion(name, content, dryRun), dryRun, ...content };
    },
  );
};

function describeDeletion(name: string, { objects, bytes }: BucketContent, dryRun: boolean): string {
  const what = `${objects} objects of ${bytes} bytes`;
  return dryRun ? `Would delete bucket "${name}" with ${what}` : `Bucket deleted successfully, with ${what}`;
}

function toReply({ name, isPublic, createdAt, fileSizeLimit, allowedMimeTypes, inlineActiveContent }: Bucket) {
  return {
    name,
    public: isPublic,
    createdAt: createdAt.toISOString(),
    fileSizeLimit,
    allowedMimeTypes,
    inlineActiveContent,
  };
}
