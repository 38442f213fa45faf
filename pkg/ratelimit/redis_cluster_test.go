package ratelimit

import (
	"fmt"
	"strings"
	"testing"
)

// startCluster starts a cluster of two nodes with half of the slots each.
func startCluster(t *testing.T) []*server {
	t.Helper()
	nodes := []*server{startRedisTCP(t, "--cluster-enabled", "yes"), startRedisTCP(t, "--cluster-enabled", "yes")}
	for i, node := range nodes {
		if err := node.client().ClusterAddSlotsRange(t.Context(), i*8192, i*8192+8191).Err(); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(nodes[1].options.Addr, ":")
	if err := nodes[0].client().ClusterMeet(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		client := node.client()
		eventually(t, func() error {
			info, err := client.ClusterInfo(t.Context()).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return fmt.Errorf("the cluster is not ready: %v\n%s", err, info)
			}
			return nil
		})
	}
	return nodes
}

func TestRedisCluster(t *testing.T) {
	nodes := startCluster(t)
	for name, url := range map[string]string{
		"both nodes": nodes[0].url + "," + nodes[1].options.Addr,
		"one node":   nodes[1].url + "?cluster=true",
	} {
		t.Run(name, func(t *testing.T) {
			prefix := strings.ReplaceAll(name, " ", "-") + ":"
			var replicas []Limiter
			for range 3 {
				replicas = append(replicas, newTestRedis(t, RedisOptions{URL: url, Prefix: prefix}))
			}
			for key := range 8 {
				if got := takeMany(t, replicas, 40, fmt.Sprint("key-", key), both(10, 20)); got != 10 {
					t.Errorf("key %d: %d of 40 allowed, want 10", key, got)
				}
			}
			for i, node := range nodes {
				if keys := node.client().Keys(t.Context(), prefix+"*").Val(); len(keys) == 0 {
					t.Errorf("node %d has none of the keys", i)
				}
			}
		})
	}
	asked, questions := 0, 0
	for _, node := range nodes {
		asked += node.calls("evalsha")
		questions += node.calls("command")
	}
	if most := 2*8*40 + 2*len(nodes)*3; asked > most {
		t.Errorf("the nodes were asked %d times for %d requests, want at most %d", asked, 2*8*40, most)
	}
	if questions > 0 {
		t.Errorf("the nodes were asked %d times what commands there are", questions)
	}
}
