/**
 * What an instance does at boot. It installs nothing: nitro-cli, vsock-proxy, socat, podman, jq, the AWS CLI, the CloudWatch agent and the certificates of RDS are in the
 * parent's image. It writes configuration, fetches what is pinned by digest, checks it, starts it, and tells the autoscaling group; whatever fails abandons the launch.
 *
 * The contract with the images (docs/images.md): inside an enclave no process opens vsock. The image's init has `socat` bridges from local ports, the parent has the
 * other halves, as systemd units written here. Ports of vsock, on the parent (CID 3):
 *
 * | port | |
 * |---|---|
 * | 8444 | gateway, internal listener |
 * | 8000 | KMS of this region (brokers), through vsock-proxy and its allow-list |
 * | 8002 | instance metadata (brokers): credentials of the role, which open nothing without attestation |
 * | 9000 | reads `cell.json` |
 * | 9001 | takes log lines |
 * | 9002 | reads the name of this instance |
 *
 * and on the enclave (CID 16): 8445, the broker's listener. Neither `dollar-brace` nor `percent-brace` may stand in these texts: Terraform would read them as its own.
 */
import { HOSTS, PORTS } from '../cell-config.ts';
import { need, needWhole } from '../configuration-error.ts';
import type { TeeEntry } from '../measurements.ts';
import { GATEWAY_TLS_PORT } from './network.ts';
import { CELL_DIMENSIONS } from './scaling.ts';

export const VSOCK = { enclave: 16, kms: 8_000, metadata: 8_002, cell: 9_000, log: 9_001, name: 9_002 } as const;
export const BOOT_HOOK = 'boot';
export const DRAIN_HOOK = 'drain';

export interface BootProps {
  readonly region: string;
  readonly autoscalingGroup: string;
  readonly logGroup: string;
  /** Text of cell.json. */
  readonly cellJson: string;
  /** Bucket of enclave files and of the owner's documents. */
  readonly eifBucket: string;
}

export interface EnclaveBootProps extends BootProps {
  readonly role: 'broker' | 'counter';
  readonly measurements: TeeEntry['nitro'];
  readonly cpus: number;
  readonly memoryMib: number;
  /** Console on, measurements all zero: key policies refuse it. */
  readonly debug: boolean;
}

export interface GatewayBootProps extends BootProps {
  readonly cell: string;
  /** `registry/repository@sha256:...` */
  readonly image: string;
  readonly registry: string;
  readonly database: { readonly host: string; readonly name: string; readonly user: string };
  readonly imageBucket: string;
  readonly metricNamespace: string;
}

const file = (path: string, text: string): string => `cat > ${path} <<'EOF'\n${text}\nEOF`;

/** Long-running unit: restarted, without privileges it does not need. */
const BRIDGE = ['NoNewPrivileges=yes', 'ProtectSystem=strict', 'ProtectHome=yes', 'PrivateTmp=yes', 'CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH'];
const unit = (name: string, start: string, extra: readonly string[] = BRIDGE): string => file(`/etc/systemd/system/${name}.service`, [
  '[Unit]', 'After=network-online.target', 'Wants=network-online.target', '[Service]', `ExecStart=${start}`, 'Restart=always', 'RestartSec=2', ...extra, '[Install]', 'WantedBy=multi-user.target',
].join('\n'));

const timer = (name: string, seconds: number): string => file(`/etc/systemd/system/${name}.timer`, ['[Timer]', `OnActiveSec=${seconds}`, `OnUnitActiveSec=${seconds}`, '[Install]', 'WantedBy=timers.target'].join('\n'));
const oneshot = (name: string, start: string): string => file(`/etc/systemd/system/${name}.service`, ['[Service]', 'Type=oneshot', `ExecStart=${start}`].join('\n'));

function head({ region, autoscalingGroup, cellJson }: BootProps): string[] {
  need(!/[\n']|EOF/.test(cellJson), 'cell.json', cellJson, 'one line without single quotes');
  return [
    '#!/bin/bash',
    'set -euo pipefail',
    'umask 027',
    `export AWS_DEFAULT_REGION=${region}`,
    'metadata=http://169.254.169.254/latest',
    'token=$(curl -sSf --retry 5 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 300" $metadata/api/token)',
    'get() { curl -sSf --retry 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"; }',
    'id=$(get instance-id)',
    'address=$(get local-ipv4)',
    `report() { aws autoscaling complete-lifecycle-action --auto-scaling-group-name ${autoscalingGroup} --lifecycle-hook-name ${BOOT_HOOK} --instance-id "$id" --lifecycle-action-result "$1"; }`,
    '# Any command that fails ends this script here: the instance takes no traffic and is replaced.',
    'trap \'test $? -eq 0 || report ABANDON\' EXIT',
    'mkdir -p /etc/ccc /opt/ccc /var/lib/ccc /var/log/ccc /run/ccc',
    `printf %s '${cellJson}' > /etc/ccc/cell.json`,
    'printf %s "$id" > /etc/ccc/name',
  ];
}

/** Any answer will do: a process that says it is not ready is alive. */
const answers = (url: string): string => `curl -s --max-time 5 -o /dev/null ${url}`;

/** A watch of the parent: an enclave or process that is gone three times in a row makes the instance unhealthy; an instance that must go stops its role first. */
function watch({ autoscalingGroup, region }: BootProps, role: string, alive: string): string[] {
  return [
    file('/opt/ccc/watch', [
      '#!/bin/bash',
      'set -uo pipefail',
      `export AWS_DEFAULT_REGION=${region}`,
      'metadata=http://169.254.169.254/latest',
      'token=$(curl -sSf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" $metadata/api/token)',
      'id=$(cat /etc/ccc/name)',
      'state=$(curl -sSf -H "X-aws-ec2-metadata-token: $token" $metadata/meta-data/autoscaling/target-lifecycle-state)',
      'if [ "$state" = Terminated ]; then',
      `  systemctl stop ccc-${role}.service`,
      `  aws autoscaling complete-lifecycle-action --auto-scaling-group-name ${autoscalingGroup} --lifecycle-hook-name ${DRAIN_HOOK} --instance-id "$id" --lifecycle-action-result CONTINUE`,
      `elif ${alive}; then`,
      '  rm -f /run/ccc/failures',
      'else',
      '  echo failed >> /run/ccc/failures',
      '  test "$(wc -l < /run/ccc/failures)" -lt 3 || aws autoscaling set-instance-health --instance-id "$id" --health-status Unhealthy',
      'fi',
    ].join('\n')),
    'chmod 0755 /opt/ccc/watch',
    oneshot('ccc-watch', '/opt/ccc/watch'),
    timer('ccc-watch', 20),
  ];
}

function agent({ logGroup, region }: BootProps, role: string, metrics?: { readonly namespace: string; readonly cell: string }): string[] {
  const collect = { files: { collect_list: [{ file_path: `/var/log/ccc/${role}.log`, log_group_name: logGroup, log_stream_name: '{instance_id}', retention_in_days: -1 }] } };
  const scrape = metrics && {
    prometheus: {
      log_group_name: logGroup, prometheus_config_path: '/etc/ccc/prometheus.yaml',
      emf_processor: { metric_namespace: metrics.namespace, metric_declaration: [{ source_labels: ['cell'], label_matcher: '.*', dimensions: [['cell']], metric_selectors: ['.*'] }, ...Object.entries(CELL_DIMENSIONS).map(([metric, label]) => ({ source_labels: ['cell'], label_matcher: '.*', dimensions: [['cell', label]], metric_selectors: [`^${metric}$`] }))] },
    },
  };
  return [
    ...(metrics === undefined ? [] : [file('/etc/ccc/prometheus.yaml', [
      'global:', '  scrape_interval: 30s', 'scrape_configs:', '  - job_name: gateway', '    static_configs:', `      - targets: ["${HOSTS.gateway}:${PORTS.health}"]`, '        labels:', `          cell: ${metrics.cell}`,
      '    metric_relabel_configs:', '      - source_labels: [__name__]', '        regex: ccc_(.+)', '        target_label: __name__', '        replacement: $1',
    ].join('\n'))]),
    file('/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.json', JSON.stringify({ agent: { region, run_as_user: 'cwagent', omit_hostname: true }, logs: { logs_collected: collect, ...(scrape && { metrics_collected: scrape }) } })),
  ];
}

export function enclaveUserData(props: EnclaveBootProps): string {
  const { role, measurements, cpus, memoryMib, eifBucket, region, debug } = props;
  needWhole('aws.enclave.cpus', cpus, 2, 64, 'vCPU');
  needWhole('aws.enclave.memoryMib', memoryMib, 1_024, 262_144, 'MiB');
  const eif = `/opt/ccc/${role}.eif`;
  const running = `nitro-cli describe-enclaves | jq -e 'any(.[]; .EnclaveName == "${role}" and .State == "RUNNING" and .Flags == "${debug ? 'DEBUG_MODE' : 'NONE'}")' > /dev/null`;
  const brokerHealth = `http://127.0.0.1:${PORTS.broker}/v1/health`;
  const allowed = [{ address: `kms.${region}.amazonaws.com`, port: 443 }, { address: '169.254.169.254', port: 80 }];
  // Counters get their keys from a broker: nothing of theirs goes to KMS.
  const proxies = role === 'broker' ? [VSOCK.kms, VSOCK.metadata] : [];
  const units = ['ccc-cell', 'ccc-log', 'ccc-name', 'ccc-gateway-bridge', ...proxies.map((port) => `ccc-proxy-${port}`), ...(role === 'broker' ? ['ccc-broker-bridge'] : [])];
  return [
    ...head(props),
    file('/etc/nitro_enclaves/allocator.yaml', `---\nmemory_mib: ${memoryMib}\ncpu_count: ${cpus}`),
    file('/etc/nitro_enclaves/vsock-proxy.yaml', `allowlist:${role === 'broker' ? allowed.map(({ address, port }) => `\n- {address: ${address}, port: ${port}}`).join('') : ' []'}`),
    'systemctl enable --now nitro-enclaves-allocator.service',
    '# The allocator reports success though it reserved too little: count the pages.',
    'reserved=0',
    'for pool in /sys/kernel/mm/hugepages/hugepages-*kB; do',
    '  size=$(basename "$pool" | tr -dc 0-9)',
    '  reserved=$((reserved + size * $(cat "$pool/nr_hugepages") / 1024))',
    'done',
    `test "$reserved" -ge ${memoryMib}`,
    `aws s3 cp --only-show-errors s3://${eifBucket}/eif/${measurements.PCR0}.eif ${eif}`,
    '# The file says what it will measure to; KMS believes the hardware only, this check finds a wrong file before it runs.',
    `nitro-cli describe-eif --eif-path ${eif} > /run/ccc/eif.json`,
    ...(['PCR0', 'PCR1', 'PCR2', 'PCR8'] as const).map((pcr) => `test "$(jq -r .Measurements.${pcr} /run/ccc/eif.json)" = ${measurements[pcr]}`),
    unit('ccc-cell', `/usr/bin/socat -U VSOCK-LISTEN:${VSOCK.cell},fork,reuseaddr OPEN:/etc/ccc/cell.json,rdonly`),
    unit('ccc-name', `/usr/bin/socat -U VSOCK-LISTEN:${VSOCK.name},fork,reuseaddr OPEN:/etc/ccc/name,rdonly`),
    unit('ccc-log', `/usr/bin/socat -u VSOCK-LISTEN:${VSOCK.log},fork,reuseaddr STDOUT`, [...BRIDGE, `StandardOutput=append:/var/log/ccc/${role}.log`]),
    unit('ccc-gateway-bridge', `/usr/bin/socat VSOCK-LISTEN:${PORTS.internal},fork,reuseaddr TCP:${HOSTS.gateway}:${PORTS.internal}`),
    ...(role === 'broker' ? [
      unit(`ccc-proxy-${VSOCK.kms}`, `/usr/bin/vsock-proxy ${VSOCK.kms} kms.${region}.amazonaws.com 443 --config /etc/nitro_enclaves/vsock-proxy.yaml`),
      unit(`ccc-proxy-${VSOCK.metadata}`, `/usr/bin/vsock-proxy ${VSOCK.metadata} 169.254.169.254 80 --config /etc/nitro_enclaves/vsock-proxy.yaml`),
      unit('ccc-broker-bridge', `/usr/bin/socat TCP-LISTEN:${PORTS.broker},fork,reuseaddr VSOCK-CONNECT:${VSOCK.enclave}:${PORTS.broker}`),
    ] : []),
    file(`/etc/systemd/system/ccc-${role}.service`, [
      '[Unit]', `After=nitro-enclaves-allocator.service ${units.map((name) => `${name}.service`).join(' ')}`, 'Requires=nitro-enclaves-allocator.service', '[Service]', 'Type=oneshot', 'RemainAfterExit=yes',
      `ExecStart=/usr/bin/nitro-cli run-enclave --enclave-name ${role} --enclave-cid ${VSOCK.enclave} --cpu-count ${cpus} --memory ${memoryMib} --eif-path ${eif}${debug ? ' --debug-mode' : ''}`,
      `ExecStop=/usr/bin/nitro-cli terminate-enclave --enclave-name ${role}`, '[Install]', 'WantedBy=multi-user.target',
    ].join('\n')),
    ...watch(props, role, role === 'broker' ? `${running} && ${answers(brokerHealth)}` : running),
    ...agent(props, role),
    'systemctl daemon-reload',
    `systemctl enable --now ${units.join(' ')} ccc-${role}.service amazon-cloudwatch-agent.service`,
    running,
    ...(role === 'broker' ? [`curl -sS --retry 30 --retry-delay 2 --retry-all-errors -o /dev/null ${brokerHealth}`] : []),
    'systemctl enable --now ccc-watch.timer',
    'report CONTINUE',
    '',
  ].join('\n');
}

export function gatewayUserData(props: GatewayBootProps): string {
  const { region, cell, image, registry, database, eifBucket, imageBucket, metricNamespace } = props;
  need(/@sha256:[0-9a-f]{64}$/.test(image), 'gateway image', image, 'a reference by digest');
  const url = (host: string): string => `postgres://${database.user}@${host}:5432/${database.name}?sslmode=verify-full&sslrootcert=/etc/ccc/rds-ca.pem`;
  const run = [
    '/usr/bin/podman run --rm --name gateway --network host --read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges --user 10001:10001 --env-file /etc/ccc/gateway.env --log-driver none',
    `--add-host ${HOSTS.gateway}:ADDRESS -v /var/lib/ccc:/var/lib/ccc -v /run/ccc/database:/run/ccc/database:ro -v /etc/ccc/rds-ca.pem:/etc/ccc/rds-ca.pem:ro ${image}`,
    '--data /var/lib/ccc',
  ].join(' ');
  return [
    ...head(props),
    `printf '%s ${HOSTS.gateway}\\n' "$address" >> /etc/hosts`,
    'cp /etc/ccc/cell.json /var/lib/ccc/cell.json',
    '# Signed by the owner, so where they lie need not be trusted. Without a policy nothing is released, and a gateway is not ready.',
    `aws s3 cp --only-show-errors s3://${eifBucket}/owner/policy.jws /var/lib/ccc/policy.jws`,
    `aws s3 cp --only-show-errors s3://${eifBucket}/owner/directory.jws /var/lib/ccc/directory.jws`,
    `aws ecr get-login-password | podman login --username AWS --password-stdin ${registry}`,
    `podman pull --quiet ${image}`,
    '# No password of the database anywhere: a token of IAM, good for 15 minutes, which the driver reads again for each connection.',
    'install -d -o 10001 -g 10001 -m 0700 /run/ccc/database',
    file('/opt/ccc/database-token', [
      '#!/bin/bash', 'set -euo pipefail', 'umask 077', `export AWS_DEFAULT_REGION=${region}`, 'for host in "$@"; do',
      `  token=$(aws rds generate-db-auth-token --hostname "$host" --port 5432 --username ${database.user} | sed 's/[\\\\:]/\\\\&/g')`,
      `  printf '%s:5432:${database.name}:${database.user}:%s\\n' "$host" "$token"`, 'done > /run/ccc/database/pgpass.new',
      'chown 10001:10001 /run/ccc/database/pgpass.new', 'mv /run/ccc/database/pgpass.new /run/ccc/database/pgpass',
    ].join('\n')),
    'chmod 0755 /opt/ccc/database-token',
    oneshot('ccc-database-token', `/opt/ccc/database-token ${database.host}`),
    timer('ccc-database-token', 600),
    file('/etc/ccc/gateway.env', [
      `DATABASE_URL=${url(database.host)}`, 'PGPASSFILE=/run/ccc/database/pgpass', `STORE_URL=s3://${imageBucket}?region=${region}`, `AWS_REGION=${region}`, `METRICS_ADDRESS=${HOSTS.gateway}:${PORTS.health}`,
    ].join('\n')),
    '# The hop from the load balancer is TLS; it checks no names, so a certificate of this boot will do.',
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=' + HOSTS.gateway + ' -keyout /run/ccc/tls.key -out /run/ccc/tls.crt',
    unit('ccc-tls', `/usr/bin/socat OPENSSL-LISTEN:${GATEWAY_TLS_PORT},fork,reuseaddr,cert=/run/ccc/tls.crt,key=/run/ccc/tls.key,verify=0,openssl-min-proto-version=TLS1.2 TCP:${HOSTS.gateway}:${PORTS.public}`),
    unit('ccc-gateway', run, ['StandardOutput=append:/var/log/ccc/gateway.log', 'StandardError=inherit', 'ExecStop=/usr/bin/podman stop --time 30 gateway', 'TimeoutStopSec=60']),
    'sed -i "s/ADDRESS/$address/" /etc/systemd/system/ccc-gateway.service',
    'chown -R 10001:10001 /var/lib/ccc',
    ...watch(props, 'gateway', `${answers(`http://${HOSTS.gateway}:${PORTS.public}/v1/health`)}`),
    ...agent(props, 'gateway', { namespace: metricNamespace, cell }),
    'systemctl daemon-reload',
    'systemctl start ccc-database-token.service',
    'systemctl enable --now ccc-database-token.timer ccc-tls.service ccc-gateway.service amazon-cloudwatch-agent.service',
    `curl -sS --retry 30 --retry-delay 2 --retry-all-errors -o /dev/null http://${HOSTS.gateway}:${PORTS.public}/v1/health`,
    'systemctl enable --now ccc-watch.timer',
    'report CONTINUE',
    '',
  ].join('\n');
}
