import { z } from 'zod';
import { pageLimit } from './pages.ts';

/** A file, as every call that stores or lists files reports it. */
export const StoredFileSchema = z.object({
  bucket: z.string(),
  key: z.string(),
  /** In bytes. */
  size: z.number(),
  /** What the uploader said it is. */
  mimeType: z.string().optional(),
  uploadedAt: z.string(),
  /** Absolute. Serves the bytes without a credential where the bucket is public. */
  url: z.string(),
});
export type StoredFile = z.infer<typeof StoredFileSchema>;

const KeySchema = z.string().min(1);

/** One type, a family such as image/…, or all of them. */
const MimeTypePatternSchema = z
  .string()
  .regex(/^(\*\/\*|[\w.+-]+\/(\*|[\w.+-]+))$/, 'must be a type such as image/png or image/*');

const BUCKET_SETTINGS = {
  /** Readable by URL without a credential; never means that its files can be listed. */
  isPublic: z.boolean(),
  /** In bytes; null: the limit of the storage settings. */
  fileSizeLimit: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).nullable(),
  /** Null: every type. */
  allowedMimeTypes: z.array(MimeTypePatternSchema).min(1).max(100).nullable(),
  /** True: html, svg, xml and js are shown, in a sandbox, instead of being downloads. */
  inlineActiveContent: z.boolean(),
};

export const BucketSchema = z.object({
  name: z.string(),
  public: z.boolean(),
  createdAt: z.string(),
  fileSizeLimit: z.number().nullable(),
  allowedMimeTypes: z.array(z.string()).nullable(),
  inlineActiveContent: z.boolean(),
});
export const BucketListSchema = z.array(BucketSchema);

/** Strict: a misspelt `isPublic` must not make a public bucket. */
export const CreateBucketSchema = z.strictObject({
  bucketName: z.string(),
  ...z.object(BUCKET_SETTINGS).partial().shape,
  isPublic: z.boolean().default(true),
});
export const CreateBucketReplySchema = z.object({
  message: z.string(),
  bucketName: z.string(),
  isPublic: z.boolean(),
  nextActions: z.string(),
});

export const UpdateBucketSchema = z
  .strictObject(BUCKET_SETTINGS)
  .partial()
  .refine((settings) => Object.keys(settings).length > 0, {
    error: `name at least one setting: ${Object.keys(BUCKET_SETTINGS).join(', ')}`,
  });
export const UpdateBucketReplySchema = z.object({
  message: z.string(),
  bucket: z.string(),
  isPublic: z.boolean(),
  fileSizeLimit: z.number().nullable(),
  allowedMimeTypes: z.array(z.string()).nullable(),
  inlineActiveContent: z.boolean(),
});

const switchSchema = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');

export const DeleteBucketQuerySchema = z.object({ dryRun: switchSchema.default(false) });
export const DeleteBucketReplySchema = z.object({
  message: z.string(),
  dryRun: z.boolean(),
  /** What was deleted, or would be. */
  objects: z.number(),
  bytes: z.number(),
});

export const MAX_LIST_LIMIT = 1000;

/** Part of a key. PostgreSQL takes no text with a NUL, and no key has one. */
const KeyTextSchema = z.string().refine((text) => !text.includes('\0'), 'must not contain the character NUL');

export const ListObjectsQuerySchema = z.object({
  /** What keys begin with; not a pattern. */
  prefix: KeyTextSchema.default(''),
  /** Part of the key, in any case; not a pattern. */
  search: KeyTextSchema.default(''),
  /** Usually `/`: keys that have it after the prefix are summed up as folders. */
  delimiter: KeyTextSchema.max(10).default(''),
  /** Only what comes after this key or folder. Costs less than an offset. Not together with sort and offset. */
  startAfter: KeyTextSchema.default(''),
  sort: z.enum(['key', 'size', 'uploadedAt']).default('key'),
  order: z.enum(['asc', 'desc']).default('asc'),
  limit: pageLimit({ usual: 100, max: MAX_LIST_LIMIT }),
  offset: z.coerce.number().int().min(0).default(0),
});
export type ListObjectsQuery = z.infer<typeof ListObjectsQuerySchema>;

export const ObjectListSchema = z.object({
  data: z.array(StoredFileSchema),
  /** With a delimiter: what lies below, each with the delimiter at its end. */
  folders: z.array(z.string()).optional(),
  pagination: z.object({
    offset: z.number(),
    limit: z.number(),
    total: z.number(),
    /** False where there are more than could be counted cheaply: `total` is then a lower bound. */
    isTotalExact: z.boolean().optional(),
  }),
  /** The `startAfter` of the next page; absent on the last one. */
  nextStartAfter: z.string().optional(),
  nextActions: z.string().optional(),
});

export const DeleteObjectsSchema = z.object({ keys: z.array(KeySchema).min(1).max(1000) });
export const DeleteObjectsReplySchema = z.object({
  results: z.array(
    z.object({
      key: z.string(),
      status: z.enum(['deleted', 'notFound', 'failed']),
      message: z.string().optional(),
    }),
  ),
});

export const StorageMessageSchema = z.object({ message: z.string() });

export const RelocateObjectSchema = z.strictObject({
  /** The new key. */
  to: KeySchema,
  /** Another bucket. */
  toBucket: z.string().optional(),
  /** Copies only: true replaces what is there. */
  overwrite: z.boolean().default(false),
});

export const UploadStrategyRequestSchema = z.object({
  /** The key. */
  filename: KeySchema,
  contentType: z.string().max(255).optional(),
  size: z.number().int().min(0).optional(),
});

export const UploadStrategySchema = z.object({
  /** `direct`: PUT the file to `uploadUrl`; `presigned`: POST a form of `fields` and the file to it. */
  method: z.enum(['presigned', 'direct']),
  uploadUrl: z.string(),
  fields: z.record(z.string(), z.string()).optional(),
  key: z.string(),
  confirmRequired: z.boolean(),
  confirmUrl: z.string().optional(),
  expiresAt: z.string().optional(),
});
export type UploadStrategy = z.infer<typeof UploadStrategySchema>;

export const ConfirmUploadSchema = z.object({
  size: z.number().int().min(0),
  contentType: z.string().max(255).optional(),
  etag: z.string().max(255).optional(),
});

export const MAX_URL_SECONDS = 604_800;
const ExpiresInSchema = z.coerce.number().int().min(1).max(MAX_URL_SECONDS).optional();
export const DownloadStrategyQuerySchema = z.object({ expiresIn: ExpiresInSchema });
/** Older clients send nothing, or a body that is not an object. */
export const DownloadStrategyRequestSchema = z.object({ expiresIn: ExpiresInSchema }).nullish().catch(undefined);

export const DownloadStrategySchema = z.object({
  /** `direct`: send your credential along; `presigned`: the URL is one. */
  method: z.enum(['presigned', 'direct']),
  url: z.string(),
  expiresAt: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
});
export type DownloadStrategy = z.infer<typeof DownloadStrategySchema>;

export const StorageConfigSchema = z.object({
  id: z.string(),
  maxFileSizeMb: z.number(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export const UpdateStorageConfigSchema = z.object({ maxFileSizeMb: z.number().int().min(1).max(200) });

export const StorageUsageSchema = z.object({
  buckets: z.array(z.object({ name: z.string(), objects: z.number(), bytes: z.number() })),
  objects: z.number(),
  bytes: z.number(),
});

export const PolicyPresetSchema = z.enum(['owner-only', 'owner-folder', 'authenticated-read', 'public-read']);
export type PolicyPreset = z.infer<typeof PolicyPresetSchema>;

export const ApplyPresetSchema = z.strictObject({
  /** Null removes the policies of a preset. */
  preset: PolicyPresetSchema.nullable(),
  /** True: says what would be done. */
  dryRun: z.boolean().default(false),
});

export const BucketPolicySchema = z.object({
  name: z.string(),
  command: z.string(),
  roles: z.array(z.string()),
  using: z.string().nullable(),
  check: z.string().nullable(),
});
export const BucketPoliciesSchema = z.object({
  /** The preset whose policies are in force; null where there are none or they were changed by hand. */
  preset: PolicyPresetSchema.nullable(),
  /** The policies that name this bucket, or none at all. */
  policies: z.array(BucketPolicySchema),
});
export const ApplyPresetReplySchema = z.object({
  message: z.string(),
  dryRun: z.boolean(),
  /** The SQL, to read, keep in a migration, or change. */
  statements: z.array(z.string()),
});

/** How an image is changed on its way out. */
export const ImageQuerySchema = z.object({
  width: z.coerce.number().int().min(1).max(4000).optional(),
  height: z.coerce.number().int().min(1).max(4000).optional(),
  /** `cover`, the default, fills the box and cuts; `contain` fits into it, `fill` stretches. */
  resize: z.enum(['cover', 'contain', 'fill']).optional(),
  /** `origin`, the default: as the original. */
  format: z.enum(['origin', 'webp', 'avif', 'jpeg', 'png']).optional(),
  quality: z.coerce.number().int().min(1).max(100).optional(),
});
export type ImageQuery = z.infer<typeof ImageQuerySchema>;
