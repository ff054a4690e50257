import {
  ApplyPresetReplySchema,
  ApplyPresetSchema,
  BucketPoliciesSchema,
  type PolicyPreset,
} from '@insforge/contract/storage.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import { getBucket } from '../buckets.ts';
import { applyPreset, listBucketPolicies, presetStatements } from '../policies.ts';
import type { Storage } from '../storage.ts';

const POLICIES = '/api/storage/buckets/:bucket/policies';
const BucketParamsSchema = z.object({ bucket: z.string() });

/** Who may do what in a bucket, as policies that the admin can read and change. */
export const policyRoutes: FastifyPluginAsyncZod<{ storage: Storage }> = async (app, { storage }) => {
  const { db, buckets } = storage;
  app.get(POLICIES, { schema: { params: BucketParamsSchema, response: { 200: BucketPoliciesSchema } } }, (request) =>
    listBucketPolicies(db.system, request.params.bucket),
  );

  app.put(
    POLICIES,
    { schema: { params: BucketParamsSchema, body: ApplyPresetSchema, response: { 200: ApplyPresetReplySchema } } },
    async (request) => {
      const { bucket } = request.params;
      const { preset, dryRun } = request.body;
      if (dryRun) {
        await getBucket(db.system, bucket);
        return { message: describe(bucket, preset, dryRun), dryRun, statements: presetStatements(bucket, preset) };
      }
      const statements = await db.system.tx(async (tx) => {
        const details = { bucketName: bucket, preset };
        await audit(tx, request, { action: 'APPLY_BUCKET_PRESET', module: 'STORAGE', details });
        return applyPreset(tx, bucket, preset);
      });
      buckets.forget();
      return { message: describe(bucket, preset, dryRun), dryRun, statements };
    },
  );
};

function describe(bucket: string, preset: PolicyPreset | null, dryRun: boolean): string {
  const verb = dryRun ? 'would be' : 'are';
  return preset === null
    ? `The policies of a preset ${verb} removed from bucket "${bucket}"`
    : `The policies of the preset ${preset} ${verb} in force for bucket "${bucket}"`;
}
