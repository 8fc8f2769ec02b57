/** What checkov says and is left as it is: each with a reason and a day on which somebody looks again. One that excepts nothing fails the scan. */
export interface Exception {
  readonly ids: readonly string[];
  readonly stack: RegExp;
  readonly resource: RegExp;
  readonly reason: string;
  /** ISO date; checkov speaks again afterwards. */
  readonly expires: string;
}

const YEAR = '2027-11-30';
const HALF = '2027-05-31';
const at = (ids: string, stack: RegExp, resource: RegExp, reason: string, expires = YEAR): Exception => ({ ids: ids.split(' '), stack, resource, reason, expires });
const REVERSIBLE = /-(?:dev|staging)$/;

export const EXCEPTIONS: readonly Exception[] = [
  // AWS
  at('CKV_AWS_109 CKV_AWS_111 CKV_AWS_356', /^ccc-aws-/, /(?:data|infra)-key_policy/, 'A key policy: its resource "*" is the key that it is attached to, nothing else. The rule aws-keys and the evaluated request table judge these policies.'),
  at('CKV_AWS_107 CKV_AWS_108 CKV_AWS_109 CKV_AWS_110 CKV_AWS_111 CKV_AWS_356', /^ccc-aws-/, /identity_boundary-document/, 'A permissions boundary: it grants nothing, and caps every role of the cell; denials in it cover identities, trail, keys and regions.'),
  at('CKV_AWS_107 CKV_AWS_109 CKV_AWS_111 CKV_AWS_356', /^ccc-aws-/, /identity_apply-document/, 'The pipeline\'s apply role makes what does not exist yet, so no ARN can be named for these services; it is under the boundary, behind an approval, with sessions of an hour.', HALF),
  at('CKV_AWS_356', /^ccc-aws-/, /identity_(?:plan|orchestrator)-document/, 'Only List, Describe and Get actions, which AWS does not let restrict by resource; contents of buckets, secrets and parameters are denied.'),
  at('CKV2_AWS_3', /^ccc-aws-/, /guardduty_detector/, 'Detectors run here; enrolling other accounts is the organization\'s own stack, which this account is no administrator of.'),
  at('CKV2_AWS_62', /^ccc-aws-/, /aws_s3_bucket\./, 'Nothing waits for events of a bucket: the ledger is the queue, and writes are seen in the trail\'s data events.'),
  at('CKV_AWS_18 CKV_AWS_144 CKV_AWS_145', /^ccc-aws-/, /store_access-logs/, 'The bucket that access logs go to: delivery of load balancer logs takes only keys of S3 itself, a log of the log bucket would feed itself, and each region keeps its own.'),
  at('CKV_AWS_139', REVERSIBLE, /data_ledger/, 'Environments that are torn down: protection is on where `protect` of the environments table is, as in prod.'),
  at('CKV_AWS_150', REVERSIBLE, /edge_(?:internal|public)/, 'Environments that are torn down: protection is on where `protect` of the environments table is, as in prod.'),
  at('CKV2_AWS_38 CKV2_AWS_39', /^edge-/, /failover_zone/, 'Route 53 wants the signing key and the query log in us-east-1, outside the residency of two environments. Clients authenticate a cell by its evidence and the signed directory, never by DNS.', HALF),
  // Azure
  at('CKV_AZURE_97', /^ccc-azure-/, /fleet_set/, 'Encryption at host is refused together with DiskWithVMGuestState: the disk is encrypted inside the confidential VM instead.'),
  at('CKV2_AZURE_21', /^ccc-azure-/, /azurerm_storage_container/, 'Diagnostic settings log reads, writes and deletions of the blob service to the workspace; this check knows the classic analytics only.'),
  at('CKV_AZURE_33', /^ccc-azure-/, /(?:audit|store)_account/, 'No queue exists in these accounts, and shared keys are off.'),
  at('CKV2_AZURE_57', /^ccc-azure-/, /data_(?:server|replica)/, 'The server is inside a delegated subnet of the network; private endpoints are the other of the two ways, and exclude this one.'),
  at('CKV_AZURE_40', /^ccc-azure-/, /(?:infra|paired)-key/, 'A rotation policy makes a version each 90 days and expires each version; a fixed date on the key would end data at rest with it.'),
  at('CKV_AZURE_164 CKV_AZURE_166', /^ccc-azure-/, /registry/, 'Images are named by digests of the lock file, which the owner signs; content trust of the registry is being retired, and quarantine would hold back what is pinned already.'),
  at('CKV_AZURE_20', /^ccc-azure-/, /defender_contact/, 'Alerts go to the address of the on-call rota; a phone number would be one person\'s.'),
  at('CKV_AZURE_206', /^ccc-azure-dev$/, /(?:audit|store)_account/, 'The paired region of eastus is outside the residency of dev: zone-redundant there, geo-redundant in the other environments.'),
  at('CKV_AZURE_136', /^ccc-azure-dev$/, /data_server/, 'The paired region of eastus is outside the residency of dev; backups are zone-redundant.'),
  // Google
  at('CKV_GCP_78', /^ccc-gcp-/, /audit|store_ciphertext/, 'A bucket has a retention policy or versions, never both; retention is what keeps objects from being changed.'),
  at('CKV_GCP_62', /^ccc-gcp-/, /audit_access-logs/, 'The bucket that access logs go to cannot log to itself.'),
  at('CKV2_GCP_4', REVERSIBLE, /audit_to-archive/, 'Locked retention can never be taken back; prod has it, environments that are torn down must not.'),
  at('CKV_GCP_82', REVERSIBLE, /key|images_signer/, 'Environments that are torn down: keys are protected where `protect` of the environments table is, as in prod; a destroyed version waits 30 days everywhere.'),
  at('CKV_GCP_12', /^ccc-gcp-/, /fleet_cluster/, 'Dataplane V2 enforces network policies itself; the add-on that is looked for excludes it.'),
  at('CKV_GCP_79', /^ccc-gcp-/, /data_(?:primary|standby)/, 'PostgreSQL 16 is what the ledger is tested with in all three clouds.', HALF),
  at('CKV_GCP_108 CKV2_GCP_13', /^ccc-gcp-/, /data_(?:primary|standby)/, 'Connections come from the proxy alone, so host names say nothing; a line for the duration of each statement would drown the log of slow ones.'),
  at('CKV_GCP_49', /^ccc-gcp-/, /identity_apply-iam-serviceaccountadmin/, 'The pipeline binds service accounts to workload identities; it has no role that impersonates one.', HALF),
  at('CKV_K8S_15', /^ccc-gcp-k8s-/, /./, 'Images are named by digest: pulling again cannot give another one, and would stop pods when the registry is away.'),
];
