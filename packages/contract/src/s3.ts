import { z } from 'zod';

/** Credentials for the S3 gateway, as an admin sees them. The secret is shown when they are made, and never again. */
export const S3AccessKeySchema = z.object({
  id: z.guid(),
  accessKeyId: z.string(),
  description: z.string().nullable(),
  createdAt: z.string(),
  lastUsedAt: z.string().nullable(),
});
export type S3AccessKey = z.infer<typeof S3AccessKeySchema>;

export const S3AccessKeyListSchema = z.array(S3AccessKeySchema);

export const S3AccessKeyWithSecretSchema = S3AccessKeySchema.extend({ secretAccessKey: z.string() });
export type S3AccessKeyWithSecret = z.infer<typeof S3AccessKeyWithSecretSchema>;

/** The body may be absent. */
export const CreateS3AccessKeySchema = z
  .object({ description: z.string().trim().max(200).nullish() })
  .nullish()
  .transform((body) => ({ description: body?.description || null }));

export const S3AccessKeyIdSchema = z.object({ id: z.guid('Invalid access key id') });

/** Where S3 clients connect, and the region that they sign for. */
export const S3ConfigSchema = z.object({ endpoint: z.string(), region: z.string(), available: z.boolean() });

/**
 * The errors that the S3 gateway answers with: status and, where it is always the same, the message. The codes and
 * statuses are those of Amazon S3 (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), since
 * clients branch on them.
 */
export const S3_ERRORS = {
  AccessControlListNotSupported: { status: 400, message: 'Objects and buckets of this server have no access lists' },
  AccessDenied: { status: 403, message: 'Access Denied' },
  AuthorizationHeaderMalformed: { status: 400, message: 'The authorization header is malformed' },
  AuthorizationQueryParametersError: { status: 400, message: 'The query parameters of the signature are not valid' },
  BadDigest: { status: 400, message: 'The checksum you specified does not match what was received' },
  BucketAlreadyOwnedByYou: { status: 409, message: 'You already own a bucket of this name' },
  BucketNotEmpty: { status: 409, message: 'The bucket you tried to delete is not empty' },
  EntityTooLarge: { status: 400, message: 'Your upload is larger than what is allowed' },
  EntityTooSmall: { status: 400, message: 'A part that is not the last one is smaller than 5 MiB' },
  IncompleteBody: { status: 400, message: 'You did not send the number of bytes that you announced' },
  InternalError: { status: 500, message: 'We encountered an internal error. Please try again.' },
  InvalidAccessKeyId: { status: 403, message: 'The access key id you provided does not exist in our records' },
  InvalidArgument: { status: 400, message: 'Invalid argument' },
  InvalidBucketName: { status: 400, message: 'The specified bucket name is not valid' },
  InvalidDigest: { status: 400, message: 'The Content-MD5 you specified is not valid' },
  InvalidPart: {
    status: 400,
    message: 'A part could not be found. It may not have been uploaded, or its ETag or checksum differs',
  },
  InvalidPartOrder: { status: 400, message: 'The list of parts is not in ascending order' },
  InvalidRange: { status: 416, message: 'The requested range is not satisfiable' },
  InvalidRequest: { status: 400, message: 'Invalid request' },
  InvalidTag: { status: 400, message: 'The tag you provided is not valid' },
  InvalidToken: { status: 400, message: 'Access keys of this server have no session token' },
  InvalidURI: { status: 400, message: 'The path or the query cannot be decoded' },
  KeyTooLongError: { status: 400, message: 'Your key has more than 1024 bytes' },
  MalformedXML: { status: 400, message: 'The XML you provided is not well-formed or not what this operation expects' },
  MetadataTooLarge: { status: 400, message: 'Your metadata headers have more than 2048 bytes' },
  MethodNotAllowed: { status: 405, message: 'The method is not allowed on this resource' },
  MissingContentLength: { status: 411, message: 'You must provide the Content-Length header' },
  MissingSecurityHeader: { status: 400, message: 'A header that the signature needs is missing' },
  NoSuchBucket: { status: 404, message: 'The specified bucket does not exist' },
  NoSuchCORSConfiguration: { status: 404, message: 'The bucket has no CORS configuration' },
  NoSuchKey: { status: 404, message: 'The specified key does not exist' },
  NoSuchUpload: {
    status: 404,
    message: 'The upload does not exist. It may have been completed, aborted, or have expired',
  },
  NoSuchVersion: { status: 404, message: 'The specified version does not exist' },
  NotImplemented: { status: 501, message: 'This server does not implement what the request asks for' },
  NotModified: { status: 304, message: 'Not Modified' },
  PreconditionFailed: { status: 412, message: 'At least one of the preconditions does not hold' },
  QuotaExceeded: { status: 507, message: 'There is no room left' },
  RequestTimeout: { status: 400, message: 'Nothing arrived on your connection for too long' },
  RequestTimeTooSkewed: {
    status: 403,
    message: 'The time of the request and the time of the server differ by more than 15 minutes',
  },
  ServiceUnavailable: { status: 503, message: 'Please try again in a moment' },
  SignatureDoesNotMatch: {
    status: 403,
    message: 'The signature does not match. Check the secret access key and how the request was signed',
  },
  SlowDown: { status: 503, message: 'Please reduce your request rate' },
  XAmzContentSHA256Mismatch: {
    status: 400,
    message: "The provided 'x-amz-content-sha256' header does not match what was computed",
  },
} as const satisfies Record<string, { status: number; message: string }>;

export type S3ErrorCode = keyof typeof S3_ERRORS;
