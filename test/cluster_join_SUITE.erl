%% SPDX-License-Identifier: Apache-2.0
%% @doc Nodes that connect by themselves: to those that are named, to those that DNS has, again and
%% again. Without EPMD: the nodes that DNS has listen on the same port of addresses of their own.
-module(cluster_join_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1]).
-import(cluster_nodes, [call/4, name/1, signal/2, sees/2]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

do_join(Peer, Option) ->
    {ok, Cluster} = hornbeam_cluster_options:check(Option),
    call(Peer, hornbeam_cluster_join, configure, [Cluster]).

%%% Nodes that are named

named_nodes(_) ->
    doc("A node connects to those it is told of; one that is killed and started again is connected "
        "again, and nobody else is needed for that. Nodes that are not there cost no new atoms "
        "however often they are tried."),
    A = cluster_nodes:start(a),
    B = cluster_nodes:start(b),
    ok = do_join(A, #{nodes => [name(A), name(B), 'never@localhost', 'was-there@localhost']}),
    await(fun() -> sees(A, [B]) end),
    await(fun() -> maps:is_key(name(B), call(A, hornbeam_cluster, nodes, [])) end),
    Made = call(A, hornbeam_names, made, []),
    ok = signal("KILL", B),
    await(fun() -> sees(A, []) end),
    [Short, _] = string:split(atom_to_list(name(B)), "@"),
    B2 = cluster_nodes:start(again, #{name => Short}),
    ?assertEqual(name(B), name(B2)),
    await(fun() -> sees(A, [B2]) end),
    ?assertEqual(Made, call(A, hornbeam_names, made, [])),
    true = call(A, erlang, disconnect_node, [name(B2)]),
    await(fun() -> sees(A, [B2]) end),
    ok = do_join(A, #{}),
    true = call(A, erlang, disconnect_node, [name(B2)]),
    [cluster_nodes:stop(Peer) || Peer <- [A, B, B2]].

a_crash_of_the_process(_) ->
    doc("When the process that connects is killed the next one goes on with the same nodes."),
    A = cluster_nodes:start(a),
    B = cluster_nodes:start(b),
    ok = do_join(A, #{nodes => [name(B)]}),
    await(fun() -> sees(A, [B]) end),
    true = call(A, erlang, exit, [call(A, erlang, whereis, [hornbeam_cluster_join]), kill]),
    true = call(A, erlang, disconnect_node, [name(B)]),
    await(fun() -> sees(A, [B]) end),
    [cluster_nodes:stop(Peer) || Peer <- [A, B]].

%%% DNS

addresses_of_a_name(Config) ->
    doc("The addresses that DNS has for a name are nodes; one that comes later is connected within "
        "the interval; what DNS no longer has is not tried again; questions that fail change "
        "nothing, and are asked again."),
    Dns = dns_server:start(#{{"nodes.test", a} => [{127, 0, 0, 2}, {127, 0, 0, 9}]}),
    Arguments = do_arguments(Config, Dns),
    [A, B, C] = [do_start(Host, Host, Arguments) || Host <- do_hosts()],
    ok = do_join(A, #{dns => "nodes.test", interval => 100}),
    ok = do_join(B, #{dns => "nodes.test", interval => 100}),
    await(fun() -> sees(A, [B]) end),
    dns_server:set(Dns, #{}),
    receive after 300 -> ok end,
    ?assert(sees(A, [B])),
    dns_server:set(Dns, #{{"nodes.test", a} => [{127, 0, 0, 3}, {127, 0, 0, 4}]}),
    await(fun() -> sees(A, [B, C]) end),
    [cluster_nodes:stop(Peer) || Peer <- [A, B, C]],
    dns_server:stop(Dns).

targets_of_srv_records(Config) ->
    doc("The targets of SRV records are nodes, under their host names."),
    Hosts = lists:zip(["n2.test", "n3.test", "n4.test"], do_hosts()),
    Dns = dns_server:start(maps:from_list(
        [{{"_hornbeam._tcp.nodes.test", srv}, [{0, 0, 4369, Name} || {Name, _} <- Hosts]}] ++
            [{{Name, a}, [element(2, inet:parse_address(Host))]} || {Name, Host} <- Hosts]
    )),
    Arguments = do_arguments(Config, Dns),
    [A | Others] = Peers = [do_start(Name, Host, Arguments) || {Name, Host} <- Hosts],
    ok = do_join(A, #{dns => "_hornbeam._tcp.nodes.test", basename => "shop", interval => 100}),
    await(fun() -> sees(A, Others) end),
    [cluster_nodes:stop(Peer) || Peer <- Peers],
    dns_server:stop(Dns).

do_hosts() -> ["127.0.0.2", "127.0.0.3", "127.0.0.4"].

%% One port of all nodes, as with the option --dist-port of the command; names from our server.
do_arguments(Config, Dns) ->
    Port = hornbeam_case:free_port({127, 0, 0, 2}),
    File = filename:join(?config(priv_dir, Config), "inetrc"),
    ok = file:write_file(File, io_lib:format(
        "{resolv_conf, \"\"}.~n{hosts_file, \"\"}.~n{lookup, [file, dns]}.~n"
        "{nameserver, {127,0,0,1}, ~b}.~n", [dns_server:port(Dns)])),
    Text = integer_to_list(Port),
    ["-start_epmd", "false", "-erl_epmd_port", Text, "-kernel", "inet_dist_listen_min", Text,
        "inet_dist_listen_max", Text, "inetrc", io_lib:format("~p", [File])].

do_start(Host, Address, Arguments) ->
    {ok, Ip} = inet:parse_address(Address),
    Interface = lists:flatten(io_lib:format("~w", [Ip])),
    cluster_nodes:start(shop, #{
        name => "shop", host => Host, longnames => true,
        args => cluster_nodes:arguments() ++ lists:map(fun lists:flatten/1, Arguments) ++
            ["-kernel", "inet_dist_use_interface", Interface]
    }).
