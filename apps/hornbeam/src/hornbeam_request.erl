%% SPDX-License-Identifier: Apache-2.0
%% @doc What Cowboy tells of a request: checked, and made into what a worker is told of it.
%%
%% Runs in: the connection process, whose dictionary keeps what is the same for all its requests.
-module(hornbeam_request).

-export([admit/3, check/2, encode/2, websocket/2]).
-export_type([req/0]).

%% The fields of a cowboy_req:req() that matter here. Cowboy's own type says that addresses are
%% internet addresses; on a Unix socket they are {local, Path}.
-type req() :: #{
    method := binary(),
    path := binary(),
    qs := binary(),
    version := cowboy:http_version(),
    headers := cowboy:http_headers(),
    scheme := binary(),
    host := binary(),
    port := inet:port_number(),
    peer := address(),
    sock := address(),
    _ => _
}.
-type address() :: {inet:ip_address(), inet:port_number()} | {local, term()}.

%% Words.
-define(MIN_HEAP_SIZE, 2586).

%% @doc Whether a stream that starts may go on: counted, and its request checked.
-spec admit(cowboy_stream:streamid(), cowboy_req:req(), hornbeam_stream:edge()) ->
    hornbeam_edge:verdict().
admit(_, #{version := 'HTTP/2'} = Req, #{max_streams := Max, limits := Limits}) ->
    case hornbeam_http2_streams:opened(Max) of
        ok -> check(Req, Limits);
        refuse -> {refuse, 503, <<"the connection has too many open streams">>}
    end;
admit(StreamID, Req, #{limits := Limits}) ->
    ok = hornbeam_http1_turn:started(StreamID),
    check(Req, Limits).

%% @doc `hornbeam_edge:check/2'. Most clients repeat their header fields on a connection; to compare
%% them is much quicker than to check them.
-spec check(cowboy_req:req(), hornbeam_edge:limits()) -> hornbeam_edge:verdict().
check(#{headers := Headers} = Req, Limits) ->
    case get(hornbeam_headers) of
        Headers ->
            hornbeam_edge:check_again(Req, Limits);
        _ ->
            Verdict = hornbeam_edge:check(Req, Limits),
            _ = Verdict =:= ok andalso put(hornbeam_headers, Headers),
            Verdict
    end.

%% @doc The fields of an OPEN. The body is whole, or its beginning and its length.
-spec encode(req(), Body) -> hornbeam_wire:request() when
    Body :: binary() | {First :: binary(), Length :: non_neg_integer() | undefined}.
encode(#{method := Method, path := Path, qs := Query} = Req, Body) ->
    hornbeam_wire:request({Method, Path, Query, version(Req), headers(Req), connection(Req), Body}).

%% @doc The fields of a WEBSOCKET.
-spec websocket(req(), Subprotocols :: [binary()]) -> hornbeam_wire:request().
websocket(#{path := Path, qs := Query} = Req, Subprotocols) ->
    Fields = {Path, Query, version(Req), headers(Req), connection(Req), Subprotocols},
    hornbeam_wire:websocket(Fields).

%% HTTP/2 says in a pseudo-header what applications look for in `host' (RFC 9113, 8.3.1).
headers(#{version := 'HTTP/2', headers := Headers} = Req) when
    not is_map_key(<<"host">>, Headers)
->
    Headers#{<<"host">> => authority(Req)};
headers(#{headers := Headers}) ->
    Headers.

authority(#{scheme := <<"http">>, host := Host, port := 80}) -> Host;
authority(#{scheme := <<"https">>, host := Host, port := 443}) -> Host;
authority(#{host := Host, port := Port}) -> <<Host/binary, ":", (integer_to_binary(Port))/binary>>.

version(#{version := 'HTTP/1.1'}) -> <<"1.1">>;
version(#{version := 'HTTP/1.0'}) -> <<"1.0">>;
version(#{version := 'HTTP/2'}) -> <<"2">>.

%% Made once per connection: workers remember what they made of it.
connection(#{peer := Peer, sock := Sock}) ->
    case get(hornbeam_connection) of
        undefined ->
            Scheme = hornbeam_connection:scheme(),
            {PeerHost, PeerPort} = address(Peer),
            {Host, Port} = address(Sock),
            Connection = term_to_binary({Scheme, PeerHost, PeerPort, Host, Port}),
            _ = put(hornbeam_connection, Connection),
            %% A request leaves some hundred words behind: collect every few requests, not twice
            %% in each.
            _ = process_flag(min_heap_size, ?MIN_HEAP_SIZE),
            Connection;
        Connection ->
            Connection
    end.

address({local, _}) -> {<<>>, 0};
address({Ip, Port}) -> {list_to_binary(inet:ntoa(Ip)), Port}.
