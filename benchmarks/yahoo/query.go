package yahoo

// Columns declares an event, in the words of CREATE SOURCE: every field, whether the query reads it or not.
const Columns = `
  user_id    VARCHAR,
  page_id    VARCHAR,
  ad_id      VARCHAR,
  ad_type    VARCHAR,
  event_type VARCHAR,
  event_time TIMESTAMP,
  ip_address VARCHAR,
  WATERMARK FOR event_time AS event_time - INTERVAL '5 seconds'`

// ReadColumns is the same as the argument of DuckDB's read_json.
const ReadColumns = `{'user_id': 'VARCHAR', 'page_id': 'VARCHAR', 'ad_id': 'VARCHAR', 'ad_type': 'VARCHAR',
  'event_type': 'VARCHAR', 'event_time': 'TIMESTAMP', 'ip_address': 'VARCHAR'}`

// CampaignColumns is the argument of read_json for the table of campaigns.
const CampaignColumns = `{'ad_id': 'VARCHAR', 'campaign_id': 'VARCHAR'}`

// Body is the query over the source events and the table campaigns: the views of each campaign in each 10 seconds.
const Body = `SELECT window_start, campaign_id, count(*) AS views
  FROM tumble(events, event_time, INTERVAL '10 seconds') e JOIN campaigns c ON e.ad_id = c.ad_id
  WHERE event_type = 'view'
  GROUP BY window_start, window_end, campaign_id`

// Want is the query in plain DuckDB over tables rows and campaigns, written by hand. Windows that the final watermark
// has not closed are left out, as append mode leaves them out.
const Want = `SELECT time_bucket(INTERVAL '10 seconds', event_time, TIMESTAMP '1970-01-01') AS window_start, campaign_id,
    count(*) AS views
  FROM rows, campaigns WHERE rows.ad_id = campaigns.ad_id AND event_type = 'view'
    AND time_bucket(INTERVAL '10 seconds', event_time, TIMESTAMP '1970-01-01') + INTERVAL '10 seconds'
      <= (SELECT max(event_time) - INTERVAL '5 seconds' FROM rows)
  GROUP BY ALL`

// ResultColumns is the argument of read_json for a result that was written as JSON.
const ResultColumns = `{'window_start': 'TIMESTAMP', 'campaign_id': 'VARCHAR', 'views': 'BIGINT'}`
