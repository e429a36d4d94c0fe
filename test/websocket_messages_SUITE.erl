%% SPDX-License-Identifier: Apache-2.0
%% @doc Messages of WebSockets, credit and compression: real connections of a raw client, Cowboy and
%% our handlers; the case itself is the worker (`websocket_served').
-module(websocket_messages_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

-import(websocket_served, [
    serve/2, tell/2, said/0, is_silent/0, accepted/1, accepted/4
]).

all() -> hornbeam_case:all(?MODULE).

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

messages(_) ->
    hornbeam_case:doc("Text stays text, bytes stay bytes, in order, both ways, empty ones too."),
    serve(#{}, fun(Port) ->
        {To, _, Client0} = accepted(Port),
        Messages = [{text, <<"a">>}, {binary, <<0, 255>>}, {text, <<>>}, {binary, <<>>},
            {text, <<"ü"/utf8>>}, {binary, binary:copy(<<7>>, 100000)}],
        [raw_websocket:send(Kind, Data, Client0) || {Kind, Data} <- Messages],
        [?assertEqual({hornbeam_message, Kind, Data}, said()) || {Kind, Data} <- Messages],
        [tell(To, Message) || Message <- Messages],
        Client = lists:foldl(
            fun({Kind, Data}, C) ->
                {{0, Opcode, Got}, Next} = raw_websocket:recv(C),
                ?assertEqual({Kind, Data}, {element(Opcode, {text, binary}), Got}),
                Next
            end,
            Client0, Messages),
        raw_websocket:close(Client)
    end).

fragments_and_pings(_) ->
    hornbeam_case:doc("Fragments are joined; a ping between them is answered with its bytes."),
    serve(#{}, fun(Port) ->
        {_, _, Client} = accepted(Port),
        raw_websocket:send_raw([
            raw_websocket:frame(0, 0, 1, <<"frag">>), raw_websocket:frame(1, 0, 9, <<"p">>),
            raw_websocket:frame(1, 0, 0, <<"ment">>)
        ], Client),
        ?assertEqual({hornbeam_message, text, <<"fragment">>}, said()),
        {{0, 10, <<"p">>}, _} = raw_websocket:recv(Client),
        raw_websocket:close(Client)
    end).

worker_takes_no_more(_) ->
    hornbeam_case:doc("Once the credit of the worker is used up the client is not read, until "
        "there is more; nothing is lost."),
    put(window, 1000),
    serve(#{}, fun(Port) ->
        {To, _, Client} = accepted(Port),
        Data = binary:copy(<<"x">>, 100),
        [raw_websocket:send(text, Data, Client) || _ <- lists:seq(1, 20)],
        %% 100 bytes cost 164: the seventh overdraws 1000.
        [{hornbeam_message, text, Data} = said() || _ <- lists:seq(1, 7)],
        ?assert(is_silent()),
        tell(To, {credit, 148}),
        ?assert(is_silent()),
        tell(To, {credit, 1}),
        {hornbeam_message, text, Data} = said(),
        ?assert(is_silent()),
        tell(To, {credit, 1000000}),
        [{hornbeam_message, text, Data} = said() || _ <- lists:seq(9, 20)],
        raw_websocket:send(text, <<"last">>, Client),
        {hornbeam_message, text, <<"last">>} = said(),
        raw_websocket:close(Client)
    end).

reads_go_on(_) ->
    hornbeam_case:doc("However often a client writes, and however often it is not read because the "
        "worker takes no more, each message arrives once and in its turn."),
    put(window, 1000),
    serve(#{}, fun(Port) ->
        {To, _, Client} = accepted(Port),
        Small = [integer_to_binary(N) || N <- lists:seq(1, 300)],
        %% Each uses up what there is.
        Large = [binary:copy(<<(N rem 256)>>, 1000) || N <- lists:seq(1, 150)],
        [begin
            raw_websocket:send(binary, Data, Client),
            ?assertEqual({hornbeam_message, binary, Data}, said()),
            tell(To, {credit, byte_size(Data) + 64})
        end || Data <- Small ++ Large],
        raw_websocket:close(Client)
    end).

slow_client(_) ->
    hornbeam_case:doc("A client that does not read stops the credit of its own worker's messages, "
        "and no other socket's; when it reads, they go on."),
    serve(#{}, fun(Port) ->
        {Slow, _, Client} = accepted(Port),
        {Quick, _, Other} = accepted(Port),
        Data = binary:copy(<<"x">>, 65536),
        %% Only as much as there is credit for: kernel buffers, and a window.
        Sent = do_send_while_granted(Slow, Data, 262144, 0),
        ?assert(Sent < 100 * 1048576),
        tell(Quick, {text, <<"quick">>}),
        {{0, 1, <<"quick">>}, _} = raw_websocket:recv(Other),
        do_recv(Sent div 65536, Client),
        ?assertMatch({hornbeam_credit, _}, said()),
        raw_websocket:close(Client),
        raw_websocket:close(Other)
    end).

do_send_while_granted(To, Data, Credit, Sent) when Credit > 0 ->
    tell(To, {binary, Data}),
    do_send_while_granted(To, Data, Credit - 65536 - 64, Sent + 65536);
do_send_while_granted(To, Data, Credit, Sent) ->
    receive
        {hornbeam_credit, 1, N} -> do_send_while_granted(To, Data, Credit + N, Sent)
    after 500 -> Sent
    end.

do_recv(0, _) ->
    ok;
do_recv(N, Client) ->
    {{0, 2, _}, Next} = raw_websocket:recv(Client),
    do_recv(N - 1, Next).

compression(_) ->
    hornbeam_case:doc("permessage-deflate is spoken where the option says so and the client offers "
        "it. (RFC 7692)"),
    Offer = [{<<"sec-websocket-extensions">>, <<"permessage-deflate; client_max_window_bits">>}],
    Text = binary:copy(<<"hello ">>, 1000),
    serve(#{websocket_compress => true}, fun(Port) ->
        {To, Headers, Client} = accepted(Port, undefined, #{}, Offer),
        ?assertMatch(#{<<"sec-websocket-extensions">> := <<"permessage-deflate", _/binary>>},
            Headers),
        tell(To, {text, Text}),
        {{4, 1, Deflated}, _} = raw_websocket:recv(Client),
        ?assert(byte_size(Deflated) < 200),
        {Inflate, Deflate} = {zlib:open(), zlib:open()},
        ok = zlib:inflateInit(Inflate, -15),
        ok = zlib:deflateInit(Deflate, default, deflated, -15, 8, default),
        ?assertEqual(Text, raw_websocket:inflated(Deflated, Inflate)),
        Mine = iolist_to_binary(zlib:deflate(Deflate, Text, sync)),
        Size = byte_size(Mine) - 4,
        raw_websocket:send_raw(raw_websocket:frame(1, 4, 1, binary:part(Mine, 0, Size)), Client),
        ?assertEqual({hornbeam_message, text, Text}, said()),
        raw_websocket:close(Client),
        {_, Plain, Second} = accepted(Port),
        ?assertNot(is_map_key(<<"sec-websocket-extensions">>, Plain)),
        raw_websocket:close(Second)
    end),
    serve(#{}, fun(Port) ->
        {_, Headers, Client} = accepted(Port, undefined, #{}, Offer),
        ?assertNot(is_map_key(<<"sec-websocket-extensions">>, Headers)),
        raw_websocket:close(Client)
    end).
