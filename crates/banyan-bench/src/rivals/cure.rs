//! The usual cure: a Redis script counts and remembers members, RabbitMQ carries the coupon to a worker, Postgres gets
//! it later. The answer waits for the script and for the broker's confirmation.
//!
//! What makes it as fast as we know:
//! - the script is loaded once and called by its hash, over one multiplexed Unix-socket connection, so that commands
//!   of concurrent requests travel together;
//! - several queues, each with its own publishing channels; confirmations are awaited per request but the broker
//!   sends them for many messages at once; lapin sets TCP_NODELAY;
//! - the workers take what is there, up to the prefetch, write it in one `INSERT ... SELECT unnest`, and acknowledge
//!   it with one frame. They run inside this process, which spares the rival a second one.
//!
//! What it is durable against, and not: queues are durable and messages persistent, so a confirmed message survives
//! the broker. Redis forgets up to a second of counts and members when the machine dies with `appendfsync everysec`
//! (as teams run it), and then issues too many. A crash between the script and the confirmation leaves a coupon
//! counted and remembered that nobody will ever write: the told-but-not-issued case, seen by the member's next try.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use futures_util::StreamExt;
use http::StatusCode;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use redis::aio::MultiplexedConnection;
use tokio_postgres::NoTls;

use crate::serve::Rival;
use crate::{Failure, answer, failed};

/// Counts the request, then: the member's coupon if it has one (-2 - left), sold out (-1), or a new one (left).
const ISSUE: &str = "
    redis.call('INCR', KEYS[3])
    local had = redis.call('HGET', KEYS[2], ARGV[1])
    if had then return -2 - tonumber(had) end
    local left = redis.call('DECR', KEYS[1])
    if left < 0 then redis.call('INCR', KEYS[1]) return -1 end
    redis.call('HSET', KEYS[2], ARGV[1], left)
    return left";

/// Gives a coupon back whose message the broker did not take.
const UNDO: &str = "
    if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then redis.call('INCR', KEYS[1]) end
    return 0";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS coupon (
    campaign text NOT NULL, member text NOT NULL, number bigint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (campaign, member))";

const WRITE: &str = "INSERT INTO coupon (campaign, member, number)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING";

struct Publisher {
    channel: Channel,
    queue: ShortString,
}

struct Server {
    redis: MultiplexedConnection,
    issue: String,
    undo: String,
    keys: [String; 3],
    publishers: Vec<Publisher>,
    next: AtomicUsize,
    persistent: BasicProperties,
    campaign: String,
    quantity: u64,
}

/// Connects to all three, starts the workers, and gives the router.
pub(crate) async fn router(options: &Rival) -> Result<Router, Failure> {
    let doing = "connecting to Redis";
    let client = redis::Client::open(options.redis.as_str()).map_err(|e| failed(doing, e))?;
    // No time limit per command: a timer for each would only cost the rival.
    let config =
        redis::AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(2_000);
    let mut redis =
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|e| failed(doing, e))?;
    let campaign = options.campaign.clone();
    let keys = ["left", "members", "requests"].map(|name| format!("{{{campaign}}}:{name}"));
    let doing = "preparing Redis";
    let issue = load(&mut redis, ISSUE).await.map_err(|e| failed(doing, e))?;
    let undo = load(&mut redis, UNDO).await.map_err(|e| failed(doing, e))?;
    let quantity = options.quantity;
    redis::cmd("SETNX")
        .arg(&keys[0])
        .arg(quantity)
        .exec_async(&mut redis)
        .await
        .map_err(|e| failed(doing, e))?;

    let mut publishers = Vec::new();
    for queue in 0..options.queues.max(1) {
        let queue: ShortString = format!("{campaign}-{queue}").into();
        publishers
            .extend(publish_to(options, &queue).await.map_err(|e| failed("connecting to RabbitMQ", e))?);
        start_worker(options, queue).await?;
    }
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let next = AtomicUsize::new(0);
    let server = Server { redis, issue, undo, keys, publishers, next, persistent, campaign, quantity };
    Ok(Router::new().route("/v1/campaigns/{campaign}/coupons", post(issue_one)).with_state(Arc::new(server)))
}

async fn load(redis: &mut MultiplexedConnection, script: &str) -> redis::RedisResult<String> {
    redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(redis).await
}

/// One connection per queue, so that the broker's flow control of one does not stop the others.
async fn publish_to(options: &Rival, queue: &ShortString) -> lapin::Result<Vec<Publisher>> {
    let connection = Connection::connect(&options.rabbitmq, ConnectionProperties::default()).await?;
    let mut publishers = Vec::new();
    for _ in 0..options.channels.max(1) {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        declare(&channel, queue, &options.queue_type).await?;
        publishers.push(Publisher { channel, queue: queue.clone() });
    }
    Ok(publishers)
}

async fn declare(channel: &Channel, queue: &ShortString, kind: &str) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), durable, arguments).await.map(|_| ())
}

async fn issue_one(State(server): State<Arc<Server>>, Path(campaign): Path<String>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<answer::Request>(&body) else {
        return answer::problem(StatusCode::BAD_REQUEST, "invalid-request");
    };
    if !answer::is_member(&request.member) {
        return answer::problem(StatusCode::BAD_REQUEST, "invalid-request");
    }
    if campaign != server.campaign {
        return answer::problem(StatusCode::NOT_FOUND, "campaign-not-found");
    }
    match server.issue(&request.member).await {
        Ok(Some((number, is_new))) => answer::coupon(&campaign, &request.member, number, is_new),
        Ok(None) => answer::problem(StatusCode::CONFLICT, "sold-out"),
        Err(error) => {
            eprintln!("issuing a coupon: {error}");
            answer::problem(StatusCode::SERVICE_UNAVAILABLE, "busy")
        }
    }
}

impl Server {
    /// The coupon's number and whether it is new; `None` when sold out.
    async fn issue(&self, member: &str) -> Result<Option<(u64, bool)>, Failure> {
        let left = self.script(&self.issue, member).await?;
        if left == -1 {
            return Ok(None);
        }
        let is_new = left >= 0;
        let number = self.quantity - u64::try_from(if is_new { left } else { -2 - left })?;
        if is_new && let Err(error) = self.publish(member, number).await {
            self.script(&self.undo, member).await?;
            return Err(error);
        }
        Ok(Some((number, is_new)))
    }

    async fn script(&self, hash: &str, member: &str) -> redis::RedisResult<i64> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(3).arg(&self.keys[0]).arg(&self.keys[1]).arg(&self.keys[2]).arg(member);
        command.query_async(&mut self.redis.clone()).await
    }

    /// Returns once the broker confirmed that it stored the message.
    async fn publish(&self, member: &str, number: u64) -> Result<(), Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Publisher { channel, queue } = &self.publishers[turn % self.publishers.len()];
        let message = format!("{number} {member}");
        let options = BasicPublishOptions::default();
        let persistent = self.persistent.clone();
        let exchange = ShortString::default();
        let confirmation = channel
            .basic_publish(exchange, queue.clone(), options, message.as_bytes(), persistent)
            .await?
            .await?;
        if confirmation.is_ack() { Ok(()) } else { Err("RabbitMQ did not take the message".into()) }
    }
}

/// Writes a queue's coupons to Postgres, for ever.
async fn start_worker(options: &Rival, queue: ShortString) -> Result<(), Failure> {
    let doing = "starting a worker";
    let (client, postgres) =
        tokio_postgres::connect(&options.postgres, NoTls).await.map_err(|e| failed(doing, e))?;
    tokio::spawn(async move {
        if let Err(error) = postgres.await {
            eprintln!("the worker's connection to Postgres ended: {error}");
        }
    });
    client.batch_execute("SELECT pg_advisory_lock(1)").await.map_err(|e| failed(doing, e))?;
    client.batch_execute(SCHEMA).await.map_err(|e| failed(doing, e))?;
    client.batch_execute("SELECT pg_advisory_unlock(1)").await.map_err(|e| failed(doing, e))?;
    let write = client.prepare(WRITE).await.map_err(|e| failed(doing, e))?;

    let broker = Connection::connect(&options.rabbitmq, ConnectionProperties::default());
    let channel =
        broker.await.map_err(|e| failed(doing, e))?.create_channel().await.map_err(|e| failed(doing, e))?;
    channel.basic_qos(options.prefetch, BasicQosOptions::default()).await.map_err(|e| failed(doing, e))?;
    let consumer = channel
        .basic_consume(queue, "worker".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .map_err(|e| failed(doing, e))?;
    let mut batches = consumer.ready_chunks(usize::from(options.prefetch));
    let campaign = options.campaign.clone();
    tokio::spawn(async move {
        while let Some(batch) = batches.next().await {
            if let Err(error) = write_batch(&client, &write, &channel, &campaign, batch).await {
                // Unacknowledged messages stay in the queue; the run will notice that coupons are missing.
                eprintln!("the worker stopped: {error}");
                return;
            }
        }
    });
    Ok(())
}

async fn write_batch(
    client: &tokio_postgres::Client,
    write: &tokio_postgres::Statement,
    channel: &Channel,
    campaign: &str,
    batch: Vec<lapin::Result<lapin::message::Delivery>>,
) -> Result<(), Failure> {
    let mut members = Vec::with_capacity(batch.len());
    let mut numbers = Vec::with_capacity(batch.len());
    let mut last = 0;
    for delivery in batch {
        let delivery = delivery?;
        let (number, member) =
            std::str::from_utf8(&delivery.data)?.split_once(' ').ok_or("a message that is not ours")?;
        numbers.push(number.parse::<i64>()?);
        members.push(member.to_owned());
        last = delivery.delivery_tag;
    }
    let campaigns = vec![campaign; members.len()];
    client.execute(write, &[&campaigns, &members, &numbers]).await?;
    channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
    Ok(())
}
